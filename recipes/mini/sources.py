"""What `mini` learns from.

The drawings of eleven emoji styles, flags and icons of the same things, and the CLDR names and keywords, read
from unpacked npm packages.
"""

import colorsys
import json
import random
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Style -> npm package of the Iconify project: each vendor's drawings as SVG bodies under English names.
EMOJI = {
    "noto": "@iconify-json/noto",
    "noto-v1": "@iconify-json/noto-v1",
    "twemoji": "@iconify-json/twemoji",
    "emojione": "@iconify-json/emojione",
    "emojione-v1": "@iconify-json/emojione-v1",
    "emojione-monotone": "@iconify-json/emojione-monotone",
    "fxemoji": "@iconify-json/fxemoji",
    "fluent": "@iconify-json/fluent-emoji",
    "fluent-flat": "@iconify-json/fluent-emoji-flat",
    "fluent-high-contrast": "@iconify-json/fluent-emoji-high-contrast",
}

# Icons that bear an emoji's name: fewer, and drawn by other rules (lines, silhouettes, two colours).
ICONS = {
    "streamline": "@iconify-json/streamline-emojis",
    "icon-park": "@iconify-json/icon-park",
    "phosphor": "@iconify-json/ph",
    "tabler": "@iconify-json/tabler",
    "material": "@iconify-json/mdi",
    "font-awesome": "@iconify-json/fa6-solid",
    "game-icons": "@iconify-json/game-icons",
}

# Flags under the ISO 3166 code of their country.
FLAGS = {
    "flag-icons": "@iconify-json/flag",
    "flagpack": "@iconify-json/flagpack",
    "coreui-flags": "@iconify-json/cif",
}
NATIONS = {"gb-eng", "gb-sct", "gb-wls"}  # flags of parts of a country that are emoji too

# Styles of plain shapes that are drawn again with a dark contour around every shape, as comics are inked.
INKED = {
    "noto": 2.5,
    "noto-v1": 2.5,
    "twemoji": 3.0,
    "emojione": 3.0,
    "emojione-v1": 3.0,
    "fxemoji": 2.5,
    "fluent-flat": 3.5,
}  # style -> width of the contour in hundredths of the drawing's width

LANGUAGES = (
    "en zh es ar hi sw fr de ja ko ru pt it tr id vi th bn fa uk el nl pl cs ro hu sv da fi he ur ta ms bg"
).split()

TONES = {0x1F3FB, 0x1F3FC, 0x1F3FD, 0x1F3FE, 0x1F3FF}


@dataclass(frozen=True)
class Drawing:
    """One vendor's drawing of one emoji, as a whole SVG document."""

    group: str
    style: str
    svg: str


def group_of(emoji: str) -> str:
    """The concept's key: code points in hex joined by '-', without variation selectors (as '1f44b-1f3fb')."""
    return "-".join(f"{ord(c):x}" for c in emoji if ord(c) != 0xFE0F)


def is_toned(group: str) -> bool:
    """Whether a skin-tone modifier is part of the sequence."""
    return any(int(point, 16) in TONES for point in group.split("-"))


def package_folder(packages: Path, name: str) -> Path:
    """Where fetch.sh unpacked the npm package `name`."""
    return packages / re.sub("[/@]", "_", name) / "package"


def annotations(packages: Path, language: str) -> dict[str, tuple[str, list[str]]]:
    """CLDR's short name and keywords of every annotated character, by group."""
    found: dict[str, tuple[str, list[str]]] = {}
    for package, top in (
        ("cldr-annotations-full", "annotations"),
        ("cldr-annotations-derived-full", "annotationsDerived"),
    ):
        path = package_folder(packages, package) / top / language / "annotations.json"
        if not path.exists():
            continue
        for emoji, entry in json.loads(path.read_text("utf-8"))[top]["annotations"].items():
            if "tts" in entry:
                found[group_of(emoji)] = (entry["tts"][0], entry.get("default", []))
    return found


def slug(name: str) -> str:
    """An English name as Iconify writes it: ASCII letters and digits joined by '-'."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    plain = plain.replace("&", "and").replace("'", "").replace("#", "hash").replace("*", "asterisk")
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


def slugs_to_groups(packages: Path, english: dict[str, tuple[str, list[str]]]) -> dict[str, str]:
    """English slug -> group, from CLDR, from the packages that list code points.

    And from the data source's short names.
    """
    table: dict[str, str] = {}
    for name in EMOJI.values():
        folder = package_folder(packages, name)
        chars = json.loads((folder / "chars.json").read_text())
        table.update(
            {
                icon: group_of("".join(chr(int(p, 16)) for p in code.split("-")))
                for code, icon in chars.items()
            }
        )
        aliases = json.loads((folder / "icons.json").read_text()).get("aliases", {})
        table.update(
            {
                a: table[e["parent"]]
                for a, e in aliases.items()
                if e["parent"] in table and set(e) == {"parent"}
            }
        )
    for entry in json.loads((package_folder(packages, "emoji-datasource-google") / "emoji.json").read_text()):
        group = group_of("".join(chr(int(p, 16)) for p in entry["unified"].split("-")))
        for short in [entry["name"] or "", *entry["short_names"]]:
            table.setdefault(slug(short), group)
    table.update({slug(name): group for group, (name, _) in english.items()})
    for key, group in list(table.items()):
        if key.startswith("flag-"):
            table.setdefault("flag-for-" + key[5:], group)
            table.setdefault("flag-for-flag-" + key[5:], group)  # as Twemoji writes it
            table.setdefault(key[5:], group)  # as Streamline writes it
        if key.endswith("-skin-tone"):  # Fluent leaves the last two words out
            table.setdefault(key.removesuffix("-skin-tone"), group)
    for key, group in list(table.items()):  # FxEmojis writes everything in one word
        table.setdefault(key.replace("-", ""), group)
    return table


def flag_group(code: str) -> str | None:
    """The group of the flag of 'ch' (regional indicators) or 'gb-sct' (a tag sequence)."""
    code = code.removesuffix("-4x3")
    if code in NATIONS:
        tags = [f"{0xE0000 + ord(c):x}" for c in code.replace("-", "")]
        return "-".join(["1f3f4", *tags, "e007f"])
    if re.fullmatch("[a-z]{2}", code):
        return "-".join(f"{0x1F1E6 + ord(c) - ord('a'):x}" for c in code)
    return None


def icon_group(icon: str, slugs: dict[str, str]) -> str | None:
    """The group of an icon that bears an emoji's name, perhaps numbered ('pizza-2') or with '-face' added."""
    name = re.sub(r"-\d$", "", icon)
    return slugs.get(icon) or slugs.get(name) or slugs.get(name.removesuffix("-face"))


def drawings(packages: Path, slugs: dict[str, str]) -> Iterator[Drawing]:
    """Every drawing whose name is understood; an emoji style gives at most one a group."""
    for style, name in EMOJI.items():
        seen: set[str] = set()
        for icon, svg in svgs(packages, name):
            group = slugs.get(icon)
            if group is not None and group not in seen:
                seen.add(group)
                yield Drawing(group, style, svg)
                if style in INKED and not is_toned(group):
                    yield Drawing(group, style + "-inked", inked(svg, INKED[style]))
    for style, name in ICONS.items():
        for icon, svg in svgs(packages, name):
            if group := icon_group(icon, slugs):
                yield Drawing(group, style, svg)
    for style, name in FLAGS.items():
        for icon, svg in svgs(packages, name):
            if group := flag_group(icon):
                yield Drawing(group, style, svg)


def svgs(packages: Path, name: str) -> Iterator[tuple[str, str]]:
    """Each icon of an Iconify package: its name and a whole SVG document."""
    icons: dict[str, Any] = json.loads((package_folder(packages, name) / "icons.json").read_text())
    for icon, body in icons["icons"].items():
        width, height = (body.get(side, icons.get(side, 16)) for side in ("width", "height"))
        yield (
            icon,
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="{body.get("left", 0)} {body.get("top", 0)} {width} {height}">{body["body"]}</svg>',
        )


def inked(svg: str, width: float) -> str:
    """The drawing with a dark contour around every shape that has none, `width` hundredths of its width."""
    head, body = svg.split(">", 1)
    left, top, across, down = view_box(head)
    margin = 0.04 * across  # room for the contour of what touches the border
    box = f"{left - margin} {top - margin} {across + 2 * margin} {down + 2 * margin}"
    return (
        f'{head.rsplit("viewBox", 1)[0]}viewBox="{box}"><g stroke="#000" stroke-linejoin="round" '
        f'stroke-width="{width * across / 100:.3f}">{body.removesuffix("</svg>")}</g></svg>'
    )


def view_box(head: str) -> tuple[float, float, float, float]:
    """Left, top, width and height of a document that begins with `head`."""
    left, top, across, down = map(float, head.rsplit('viewBox="', 1)[1].rstrip('"').split())
    return left, top, across, down


def mirrored(svg: str) -> str:
    """The drawing as a mirror shows it."""
    head, body = svg.split(">", 1)
    left, _, across, _ = view_box(head)
    turn = f"matrix(-1 0 0 1 {2 * left + across} 0)"
    return f'{head}><g transform="{turn}">{body.removesuffix("</svg>")}</g></svg>'


def recoloured(svg: str, random_: random.Random) -> str:
    """The drawing in fewer, flatter colours: all hues turned by one angle, few steps of lightness."""
    turn, vivid = random_.gauss(0, 0.07), random_.uniform(1.0, 1.6)  # of a full circle; of the saturation
    steps = random_.choice((3, 4, 5))

    def other(match: re.Match[str]) -> str:
        digits = match[1] if len(match[1]) == 6 else "".join(2 * c for c in match[1])
        red, green, blue = (int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4))
        hue, light, full = colorsys.rgb_to_hls(red, green, blue)
        light = round(light * steps) / steps if 0.05 < light < 0.95 else light
        rgb = colorsys.hls_to_rgb((hue + turn) % 1, light, min(1.0, full * vivid))
        return "#" + "".join(f"{round(255 * value):02x}" for value in rgb)

    return re.sub(r"#([0-9a-fA-F]{6}|[0-9a-fA-F]{3})\b(?=[\"';])", other, svg)

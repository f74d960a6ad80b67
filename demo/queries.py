"""What the demo asks: the same seven things in 24 languages, in the words that a person would type."""

from dataclasses import dataclass

from .openmoji import key_of


@dataclass(frozen=True)
class Language:
    """A language: its BCP 47 tag, its English name, and its own name for itself."""

    tag: str
    name: str
    own_name: str


@dataclass(frozen=True)
class Query:
    """One question: `text` in `language`, its `meaning` in English, the keys of the `right` drawings."""

    language: Language
    text: str
    meaning: str
    right: frozenset[str]


# English text, and every emoji that a person would accept as an answer.
THINGS: dict[str, tuple[str, ...]] = {
    "a cat": ("🐈", "🐈‍⬛", "🐱", "😺", "😸", "😹", "😻", "😼", "😽", "🙀", "😿", "😾"),
    "a fish": ("🐟", "🐠", "🐡"),
    "a slice of pizza": ("🍕",),
    "a bicycle": ("🚲", "🚴", "🚴‍♂️", "🚴‍♀️", "🚵", "🚵‍♂️", "🚵‍♀️"),
    "an umbrella": ("☂️", "☔", "🌂", "⛱️"),
    "a rocket": ("🚀",),
    "a key": ("🔑", "🗝️", "🔐"),
}

# Each line follows the order of THINGS.
TEXTS: dict[tuple[str, str, str], str] = {
    ("en", "English", "English"): (
        "a cat, a fish, a slice of pizza, a bicycle, an umbrella, a rocket, a key"
    ),
    ("zh", "Chinese", "中文"): "一只猫, 一条鱼, 一块披萨, 一辆自行车, 一把雨伞, 一枚火箭, 一把钥匙",
    ("ar", "Arabic", "العربية"): "قطة, سمكة, شريحة بيتزا, دراجة هوائية, مظلة, صاروخ, مفتاح",
    ("sw", "Swahili", "Kiswahili"): "paka, samaki, kipande cha piza, baiskeli, mwavuli, roketi, ufunguo",
    ("hi", "Hindi", "हिन्दी"): "एक बिल्ली, मछली, पिज़्ज़ा का टुकड़ा, साइकिल, छाता, रॉकेट, चाबी",
    ("es", "Spanish", "español"): (
        "un gato, un pez, un trozo de pizza, una bicicleta, un paraguas, un cohete, una llave"
    ),
    ("fr", "French", "français"): (
        "un chat, un poisson, une part de pizza, un vélo, un parapluie, une fusée, une clé"
    ),
    ("de", "German", "Deutsch"): (
        "eine Katze, ein Fisch, ein Stück Pizza, ein Fahrrad, ein Regenschirm, eine Rakete, ein Schlüssel"
    ),
    ("ja", "Japanese", "日本語"): "猫, 魚, ピザ一切れ, 自転車, 傘, ロケット, 鍵",
    ("ko", "Korean", "한국어"): "고양이, 물고기, 피자 한 조각, 자전거, 우산, 로켓, 열쇠",
    ("ru", "Russian", "русский"): "кошка, рыба, кусок пиццы, велосипед, зонт, ракета, ключ",
    ("tr", "Turkish", "Türkçe"): "bir kedi, bir balık, bir dilim pizza, bisiklet, şemsiye, roket, anahtar",
    ("id", "Indonesian", "Bahasa Indonesia"): (
        "seekor kucing, seekor ikan, sepotong pizza, sepeda, payung, roket, kunci"
    ),
    ("pt", "Portuguese", "português"): (
        "um gato, um peixe, uma fatia de pizza, uma bicicleta, um guarda-chuva, um foguete, uma chave"
    ),
    ("vi", "Vietnamese", "Tiếng Việt"): (
        "con mèo, con cá, một miếng pizza, xe đạp, cái ô, tên lửa, chìa khóa"
    ),
    ("th", "Thai", "ไทย"): "แมว, ปลา, พิซซ่าหนึ่งชิ้น, จักรยาน, ร่ม, จรวด, กุญแจ",
    ("bn", "Bengali", "বাংলা"): "একটি বিড়াল, মাছ, এক টুকরো পিৎজা, সাইকেল, ছাতা, রকেট, চাবি",
    ("fa", "Persian", "فارسی"): "گربه, ماهی, یک برش پیتزا, دوچرخه, چتر, موشک, کلید",
    ("uk", "Ukrainian", "українська"): "кіт, риба, шматок піци, велосипед, парасолька, ракета, ключ",
    ("el", "Greek", "Ελληνικά"): (
        "μια γάτα, ένα ψάρι, ένα κομμάτι πίτσα, ένα ποδήλατο, μια ομπρέλα, ένας πύραυλος, ένα κλειδί"
    ),
    ("it", "Italian", "italiano"): (
        "un gatto, un pesce, una fetta di pizza, una bicicletta, un ombrello, un razzo, una chiave"
    ),
    ("pl", "Polish", "polski"): "kot, ryba, kawałek pizzy, rower, parasol, rakieta, klucz",
    ("ur", "Urdu", "اردو"): "بلی, مچھلی, پیزا کا ٹکڑا, سائیکل, چھتری, راکٹ, چابی",
    ("ta", "Tamil", "தமிழ்"): "ஒரு பூனை, மீன், ஒரு துண்டு பீட்சா, மிதிவண்டி, குடை, ராக்கெட், சாவி",
}

LANGUAGES: tuple[Language, ...] = tuple(Language(*key) for key in TEXTS)


def queries() -> list[Query]:
    """Every question, language by language."""
    return [
        Query(Language(*key), text, meaning, frozenset(map(key_of, right)))
        for key, texts in TEXTS.items()
        for text, (meaning, right) in zip(texts.split(", "), THINGS.items(), strict=True)
    ]

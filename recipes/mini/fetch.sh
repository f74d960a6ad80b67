#!/bin/sh
# Fetches the pinned npm packages that `mini` learns from into FOLDER (about 700 MB unpacked).
# usage: sh recipes/mini/fetch.sh FOLDER
set -eu
folder=${1:?usage: sh recipes/mini/fetch.sh FOLDER}
for package in \
  cldr-annotations-full@48.2.0 cldr-annotations-derived-full@48.2.0 \
  @iconify-json/noto@1.2.9 @iconify-json/noto-v1@1.2.5 @iconify-json/twemoji@1.2.5 \
  @iconify-json/emojione@1.2.3 @iconify-json/emojione-v1@1.2.3 @iconify-json/emojione-monotone@1.2.1 \
  @iconify-json/fxemoji@1.2.2 @iconify-json/fluent-emoji@1.2.7 @iconify-json/fluent-emoji-flat@1.2.6 \
  @iconify-json/fluent-emoji-high-contrast@1.2.6 emoji-datasource-google@16.0.0 \
  @iconify-json/streamline-emojis@1.2.4 @iconify-json/icon-park@1.2.4 @iconify-json/ph@1.2.2 \
  @iconify-json/tabler@1.2.41 @iconify-json/mdi@1.2.3 @iconify-json/fa6-solid@1.2.4 \
  @iconify-json/game-icons@1.2.4 @iconify-json/flag@1.2.12 @iconify-json/flagpack@1.2.8 @iconify-json/cif@1.2.7
do
  name=$(printf '%s' "${package%@*}" | tr '/@' '__')
  [ -d "$folder/$name/package" ] && continue
  mkdir -p "$folder/$name"
  (cd "$folder/$name" && npm pack --silent "$package" >/dev/null && tar xzf ./*.tgz && rm ./*.tgz)
  echo "fetched $package"
done

#!/usr/bin/env bash
# Runs the commands of README's sections "In one go" and "The first hour", and records the results.
#
#   scripts/first_hour.sh [FOLDER]
#
# Clones this checkout into FOLDER (a new temporary one by default), runs each command of these
# sections there in one shell, and writes docs/first_hour.md with the times, the last lines of output,
# the written files, and pictures in docs/images/first_hour/.
set -euo pipefail
checkout=$(cd "$(dirname "$0")/.." && pwd)
folder=${1:-$(mktemp -d)}
page=$checkout/docs/first_hour.md
pictures=$checkout/docs/images/first_hour

git clone --quiet "$checkout" "$folder/magenta_lite"
cd "$folder/magenta_lite"
export TFDS_DATA_DIR=$folder/data COLUMNS=100

# The first block of "In one go" and all blocks of "The first hour", one command per line.
commands=$(awk '/^## /{on = /^## In one go/ ? 1 : /^## The first hour/ ? 99 : 0}
    /^```/{code = !code && /bash/ && on-- > 0; next} code' README.md |
    sed -e ':a' -e '/\\$/N; s/ *\\\n */ /; ta' | grep -v '^ *\(#\|$\)')

machine() {
    local model
    model=$(sed -n 's/^model name.*: //p' /proc/cpuinfo 2>/dev/null | head -1)
    echo "${model:-$(uname -m)}, $(nproc) cores, load average $(cut -d' ' -f1 /proc/loadavg), $(date +%Y-%m-%d)"
}

rm -rf "$pictures"
mkdir -p "$pictures"
{
    echo "# The first hour"
    echo
    echo "Written by \`scripts/first_hour.sh\`, which types README's commands in a fresh clone: $(machine)."
} >"$page"

number=0 failed=0
began=$SECONDS
while IFS= read -r command; do
    number=$((number + 1))
    echo "== $command"
    touch "$folder/before"
    started=$SECONDS code=0
    # Runs in this shell, so that an activated virtual environment stays active.
    eval "${command%%  #*}" >"$folder/out" 2>&1 </dev/null || code=$?
    seconds=$((SECONDS - started))
    [ "$code" -eq 0 ] || failed=1
    {
        echo
        echo "## $number. $(printf '%d:%02d' $((seconds / 60)) $((seconds % 60))) minutes$([ "$code" -eq 0 ] || echo ", exit code $code")"
        echo
        echo '```text'
        echo "\$ $command"
        tr '\r' '\n' <"$folder/out" | sed "s#$folder/##g" | tail -n 12 | cut -c1-160
        echo '```'
    } >>"$page"
    find . -path ./.git -prune -o -path ./venv -prune -o -newer "$folder/before" -type f \
        \( -name '*.mid' -o -name '*.wav' \) -print | sort >"$folder/written"
    if [ -s "$folder/written" ]; then
        { echo; xargs -d '\n' python scripts/describe_files.py <"$folder/written"; } >>"$page"
    fi
    picture=$(find . -path ./.git -prune -o -path ./venv -prune -o -newer "$folder/before" -type f \
        -name '*.png' -printf '%f\t%p\n' | sort | awk -F'\t' 'NR == 1 || /overview/ {p = $2} END {print p}')
    if [ -n "$picture" ]; then
        cp "$picture" "$pictures/$number.png"
        printf '\n![What command %s wrote](images/first_hour/%s.png)\n' "$number" "$number" >>"$page"
    fi
done <<<"$commands"

minutes=$(((SECONDS - began + 30) / 60))
printf '\nAll of it: %s minutes; `venv` takes %s, built data sets %s.\n' "$minutes" \
    "$(du -sh venv | cut -f1)" "$(du -sh "$TFDS_DATA_DIR" | cut -f1)" >>"$page"
echo "Wrote $page"
exit $failed

#!/usr/bin/env bash
# Builds the data sets of the configurations with the `tfds` command (pip install '.[beam]').
#
#   scripts/build_datasets.sh [DATA_DIR]
#
# Freedoom is built only if the game is installed; Groove MIDI, which is downloaded, is the last.
# Data sets for non-commercial use only are not built: the Essen songs (configs essen_* and kids_* of
# folk) and MAESTRO (maestro_midi).
set -euo pipefail
if [ $# -gt 0 ]; then
    mkdir -p "$1"
    data_dir=--data_dir=$(cd "$1" && pwd)
fi
cd "$(dirname "$0")/../tfds_datasets"

build() { # COLLECTION CONFIG...
    local collection=$1 config
    for config in "${@:2}"; do
        (cd "$collection" && tfds build --config="$config" ${data_dir:+"$data_dir"})
    done
}

bands=(trio_16bar multiperf_1bar)
drums=(drums_2bar drums_2bar_roll drums_2bar_full_roll groove_2bar groove_4bar)
build folk mel_2bar mel_16bar mel_whole
build arranged leads_mel_2bar_chords "${bands[@]}" multiperf_1bar_chords "${drums[@]}"
build rendered performance
build rendered_audio mono_16khz
if compgen -G '/usr/share/games/doom/free*.wad' >/dev/null; then
    build freedoom mel_2bar mel_16bar "${bands[@]}" "${drums[@]}"
fi
build groove_midi "${drums[@]}"

#!/usr/bin/env bash
# Builds the embedded collections with the `tfds` command (pip install '.[beam]').
#
#   scripts/build_datasets.sh [DATA_DIR]
#
# The Essen songs (configs essen_* and kids_*) are for non-commercial use and not built here.
set -euo pipefail
cd "$(dirname "$0")/../tfds_datasets/folk"
for config in mel_2bar mel_16bar mel_whole; do
    tfds build --config="$config" ${1:+--data_dir="$1"}
done

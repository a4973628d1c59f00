"""Codec ids and names: what can be said of a frame without loading a codec (VER-2)."""

PACK_ID = 16
CODEC_NAMES = {
    1: "raw",
    2: "index-map",
    3: "ham",
    4: "sham",
    5: "banded",
    6: "masked",
    7: "fast",
    8: "mixed",
    9: "mixed-float",
    PACK_ID: "pack",
}

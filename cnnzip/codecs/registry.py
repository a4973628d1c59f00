"""Codec ids to classes: one literal dictionary, so that no name in a file becomes an import."""

from cnnzip.codecs.banded import Banded
from cnnzip.codecs.base import Codec
from cnnzip.codecs.fast import Fast
from cnnzip.codecs.ham import Ham
from cnnzip.codecs.index_map import IndexMap
from cnnzip.codecs.masked import Masked
from cnnzip.codecs.mixed import Mixed
from cnnzip.codecs.mixed_float import MixedFloat
from cnnzip.codecs.raw import Raw
from cnnzip.codecs.sham import Sham

#: In the order in which `choose` prefers them at equal size.
CODECS: dict[int, type[Codec]] = {
    codec.id: codec for codec in (Banded, Ham, Sham, Fast, IndexMap, Masked, Mixed, MixedFloat, Raw)
}

"""Ways to store a matrix: one file each, the same few methods (`base.Contender`)."""

from .base import Contender
from .bitmask import Bitmask, BitmaskIndexed
from .blosc import FloatsBlosc, IndicesBlosc
from .byte_compressors import FloatsZstd, GapsZstd, IndicesLzma, IndicesZstd
from .column_groups import ColumnGroups
from .constriction import ANS, RangeCoder
from .cser import CER, CSER
from .dense import Dense
from .index_map import IndexMap
from .nncodec import NNCodec, NNCodecBest
from .ours import CODECS, Ours
from .papers import CHARGED
from .relative_index import EIE, DeepCompression, DeepCompressionHuffman
from .scipy_sparse import BSR, COO, CSC, CSR
from .torch_csr import TorchCSR
from .zipnn import ZipNN

#: All of them, in the order of tables.
CONTENDERS: dict[str, Contender] = {
    contender.name: contender
    for contender in (
        Ours("auto"),
        Ours("smallest"),
        *map(Ours, CODECS),
        Dense(),
        CSR(),
        CSC(),
        COO(),
        BSR(),
        TorchCSR("int32"),
        TorchCSR("int64"),
        IndexMap(),
        CER(),
        CSER(),
        Bitmask(),
        BitmaskIndexed(),
        EIE(),
        DeepCompression(),
        DeepCompressionHuffman(),
        ColumnGroups(),
        FloatsZstd(),
        IndicesZstd(),
        IndicesLzma(),
        GapsZstd(),
        FloatsBlosc(),
        IndicesBlosc(),
        ZipNN(),
        ANS(),
        RangeCoder(),
        NNCodec(),
        NNCodecBest(),
        *CHARGED,
    )
}

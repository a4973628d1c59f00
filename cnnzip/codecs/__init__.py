"""Matrix to sections and back: the codec contract, the codebook, one file per codec."""

"""What methods of pruning and quantization are worth in accuracy and bytes of the file."""

"""Status codes returned by every kernel that reads untrusted data."""

OK = 0
SYMBOL_PAST_END = 1  # an index or symbol outside its codebook
PLACE_PAST_END = 2  # a place outside its line
PLACE_NOT_INCREASING = 3  # places of a line that do not increase
STREAM_LENGTH = 4  # a stream that ends before or after its last codeword
STREAM_PADDING = 5  # a padding bit that is set
ENTRY_COUNT = 6  # lines whose entries are not as many as announced, or more than fit
LAST_STATE = 7  # a stream whose last state is not 0
STREAM_DONE = 8  # nothing is left to decode; no fault
LINE_END = 9  # a line whose last token is no entry

"""Methods of others, written with this library: a page each."""

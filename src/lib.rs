//! unitfix repairs a systemd unit whose own system call filter kills it.

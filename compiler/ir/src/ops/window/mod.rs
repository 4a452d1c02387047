//! Operators over a sliding window of one channel.

pub mod pool;

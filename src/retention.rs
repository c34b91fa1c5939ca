//! How long children's data is kept: `[retention]` of the configuration.

use serde::Deserialize;

use crate::clock::Span;
use crate::config::Length;

/// How long what stays.
#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Retention {
    settled: Length,
}

impl Retention {
    /// So long after the verdict personal fields stay.
    pub fn settled(self) -> Span {
        self.settled.0
    }
}

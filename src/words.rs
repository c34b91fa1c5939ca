//! The field's words, one list per enumeration.
//!
//! Each list feeds the type, its text (CSV, SQL, messages, serde) and its parser; a test holds the `CHECK` clauses of
//! `schema.sql` to the same lists. A word is added here and nowhere else.

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name { $($(#[$doc])* #[serde(rename = $text)] $variant),+ }

        impl $name {
            /// Every word of the list, in the order of the design's tables.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            /// The word as it stands in the ledger, the report and messages.
            pub const fn text(self) -> &'static str {
                match self { $($name::$variant => $text),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.text())
            }
        }

        impl std::str::FromStr for $name {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                match text {
                    $($text => Ok($name::$variant),)+
                    _ => Err(UnknownWord { list: stringify!($name), allowed: &[$($text),+] }),
                }
            }
        }
    };
}

/// A text that is not on one of the lists. It names the list and what is on it, never the text itself, which may come
/// from a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownWord {
    /// The enumeration's name.
    pub list: &'static str,
    /// What would have been understood.
    pub allowed: &'static [&'static str],
}

impl std::fmt::Display for UnknownWord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "unknown {} (one of: {})", self.list.to_lowercase(), self.allowed.join(", "))
    }
}

impl std::error::Error for UnknownWord {}

words! {
    /// Who sent the request: the partner (`outbound`), or PRIVO to the partner's webhook (`inbound`).
    Direction {
        Outbound = "outbound",
        Inbound = "inbound",
    }
}

words! {
    /// How an attempt ended for its sender.
    Failure {
        /// Written before sending; nothing heard since.
        Intent = "intent",
        /// Failed before a byte of the request left: DNS, connection refused, TLS handshake.
        NotSent = "not_sent",
        /// The sender gave up waiting.
        Timeout = "timeout",
        /// Reset, closed, or an answer that was cut.
        Network = "network",
        /// An answer in doubt: 5xx, or a status that the plan says is in doubt.
        Http = "http",
        /// A definite answer. Never examined: evidence for its operation.
        Answered = "answered",
    }
}

words! {
    /// Where an entry stands.
    Status {
        Pending = "pending",
        Resolved = "resolved",
        DuplicateRisk = "duplicate-risk",
    }
}

words! {
    /// What became of the operation on the server.
    Outcome {
        /// This operation made it so.
        Applied = "applied",
        /// It was not, and under the stated windows will not be, applied.
        NotApplied = "not-applied",
        /// The state that was asked for holds; what caused it cannot be known.
        Satisfied = "satisfied",
        /// Applied more than once.
        Duplicated = "duplicated",
        /// Some of it was applied.
        PartlyApplied = "partly-applied",
        Unknown = "unknown",
    }
}

words! {
    /// Why an entry stands where it stands; the rows of the verdict table.
    Reason {
        BadRow = "bad-row",
        OtherEnvironment = "other-environment",
        NoEffect = "no-effect",
        NoPlan = "no-plan",
        NeverSent = "never-sent",
        Created = "created",
        Present = "present",
        Preexisting = "preexisting",
        KeyTaken = "key-taken",
        Unsettled = "unsettled",
        Unconfirmed = "unconfirmed",
        ConfirmedAbsent = "confirmed-absent",
        RemovedSince = "removed-since",
        Duplicated = "duplicated",
        ForeignRecords = "foreign-records",
        Underdetermined = "underdetermined",
        AmbiguousMatch = "ambiguous-match",
        Unobservable = "unobservable",
        Deleted = "deleted",
        NotDeleted = "not-deleted",
        Recreated = "recreated",
        Equivalent = "equivalent",
        Updated = "updated",
        NotUpdated = "not-updated",
        Overwritten = "overwritten",
        StateFetched = "state-fetched",
        PartlyApplied = "partly-applied",
        Inconclusive = "inconclusive",
        Uncontrolled = "uncontrolled",
        Expired = "expired",
        /// Settled by a person (`close`).
        Closed = "closed",
    }
}

impl Reason {
    /// A record that turns up late corrects such a verdict: it is looked at again.
    pub fn watched(self) -> bool {
        use Reason::{ConfirmedAbsent, NeverSent, NotDeleted, NotUpdated, StateFetched};
        matches!(self, ConfirmedAbsent | NeverSent | NotDeleted | NotUpdated | StateFetched)
    }
}

words! {
    /// What the partner should do.
    Action {
        None = "none",
        Wait = "wait",
        /// The server blocks a repeat, so resending now does no harm.
        MayResend = "may-resend",
        Resend = "resend",
        DoNotResend = "do-not-resend",
        StoreId = "store-id",
        ApplyState = "apply-state",
        Review = "review",
        AskPrivo = "ask-privo",
    }
}

words! {
    /// What a look saw.
    Seen {
        Present = "present",
        Absent = "absent",
        Several = "several",
        Inconclusive = "inconclusive",
    }
}

words! {
    /// How a control (a lookup whose answer is known beforehand) went.
    Control {
        /// The answer was the expected one.
        Held = "held",
        /// The answer was the opposite of the expected one.
        Contradicted = "contradicted",
        /// There was no conclusive answer.
        Unanswered = "unanswered",
        /// None is configured.
        Missing = "missing",
    }
}

words! {
    /// How a sent field compares with the record that was found.
    Compared {
        Equal = "equal",
        Differs = "differs",
        /// One of the two sides does not show it.
        NotShown = "not-shown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back_as_itself() {
        for reason in Reason::ALL {
            assert_eq!(reason.text().parse::<Reason>().as_ref(), Ok(reason));
        }
        for action in Action::ALL {
            assert_eq!(action.text().parse::<Action>().as_ref(), Ok(action));
        }
    }

    #[test]
    fn an_unknown_word_names_the_list_and_not_the_text() {
        let error = "ann@example.com".parse::<Failure>().unwrap_err().to_string();
        assert!(error.contains("not_sent") && !error.contains("ann"), "{error}");
    }

    /// The CHECK clauses of the schema hold the same lists, in the same order.
    #[test]
    fn the_schema_checks_the_same_words() {
        let schema: String = include_str!("../schema.sql").split_whitespace().collect::<Vec<_>>().join(" ");
        let list = |words: Vec<&str>| words.iter().map(|w| format!("'{w}'")).collect::<Vec<_>>().join(", ");
        for (column, words) in [
            ("status", list(Status::ALL.iter().map(|w| w.text()).collect())),
            ("outcome", list(Outcome::ALL.iter().map(|w| w.text()).collect())),
            ("reason", list(Reason::ALL.iter().map(|w| w.text()).collect())),
            ("action", list(Action::ALL.iter().map(|w| w.text()).collect())),
        ] {
            let clause = format!("CHECK ({column} IN ({words}))");
            assert!(schema.contains(&clause), "schema.sql lacks: {clause}");
        }
    }
}

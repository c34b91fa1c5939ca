//! Any evidence, as a ledger may hold it: it is decided, always, and to the same end. An input is a case as JSON.

use privo_reconcile::decide::decide;
use privo_reconcile::evidence::Case;

pub fn check(data: &[u8]) {
    let Ok(case) = serde_json::from_slice::<Case>(data) else { return };
    // A group is never so large without links that make it one.
    if case.attempts.len() > 64 {
        return;
    }
    let decided = decide(&case);
    assert_eq!(decided.len(), case.attempts.len());
    assert_eq!(format!("{decided:?}"), format!("{:?}", decide(&case)));
    let stored: Case = serde_json::from_str(&serde_json::to_string(&case).unwrap()).unwrap();
    assert_eq!(case, stored, "as the ledger gives it back");
}

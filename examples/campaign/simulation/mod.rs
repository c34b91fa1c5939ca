//! Simulated worlds: seeded, without sockets, in virtual time. They drive the real planning, deciding and ledger code
//! through run after run, and a judge that knows the truth says what was wrong.
//!
//! [`play::play`] plays one world. [`story`] draws what it is like, [`cast`] who asks for what, [`client`] sends and
//! records, [`resender`] sends again by permit, [`stage`] holds the world together, [`net`] is the wire, [`time`] the clocks, [`truth`] what really
//! happened, [`judge`] the judge, [`excuse`] what nobody could decide.

pub mod client;
pub mod excuse;
pub mod figures;
pub mod fixtures;
pub mod judge;
pub mod net;
pub mod ops;
pub mod partner;
pub mod permitted;
pub mod play;
pub mod plot;
pub mod reports;
pub mod resender;
pub mod ruling;
pub mod stage;
pub mod story;
pub mod time;
pub mod truth;
pub mod twist;

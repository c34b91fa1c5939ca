//! The real pace, over real lookups and HTTP, against a server that has its troubles one after the other.

use std::cell::Cell;
use std::time::Duration;

use futures_util::future::{join, join_all};
use privo_reconcile::clock::Moment;
use privo_reconcile::config::Config;
use privo_reconcile::lookup::{Lookups, Shared};
use privo_reconcile::sandbox::Faults;

use crate::util::{Dir, Platform, Setup};

/// The limit of requests in flight.
pub const CONCURRENCY: usize = 16;

/// Between two samples, in milliseconds.
pub const EVERY_MS: u64 = 250;

/// Every answer comes after 20 to 30 milliseconds.
pub const WELL: &str = "well";

/// What the server does, and for how many seconds.
pub struct Phase {
    pub name: &'static str,
    pub seconds: u64,
    faults: fn(Faults) -> Faults,
}

pub const PHASES: [Phase; 7] = [
    Phase { name: WELL, seconds: 10, faults: |well| well },
    Phase { name: "2 %: 429", seconds: 14, faults: |well| Faults { too_many: 0.02, ..well } },
    Phase { name: WELL, seconds: 33, faults: |well| well },
    Phase { name: "30 %: 5xx", seconds: 14, faults: |well| Faults { read_errors: 0.3, ..well } },
    Phase { name: WELL, seconds: 33, faults: |well| well },
    Phase { name: "1 s latency", seconds: 16, faults: |well| Faults { latency_ms: 1000, ..well } },
    Phase { name: WELL, seconds: 28, faults: |well| well },
];

/// What was seen at the end of a quarter of a second.
pub struct Sample {
    pub allowed: usize,
    /// Definite answers in that time.
    pub answers: u64,
}

/// Asks for one account after the other, as many at once as the limit says, through all phases.
pub fn play() -> Vec<Sample> {
    let platform = Platform::start();
    let dir = Dir::new(&Setup { server: format!("concurrency = {CONCURRENCY}\n"), ..Setup::of(&platform) });
    let config = Config::load(Some(&dir.file("privo-reconcile.toml"))).unwrap();
    let lookups = Lookups::new(&config, Moment::now).unwrap();
    let (asked, answered, over) = (Cell::new(0_u64), Cell::new(0_u64), Cell::new(false));
    let asks = async || {
        while !over.get() {
            let key = format!("ann{}@example.com", asked.replace(asked.get() + 1));
            let sighting = lookups.look_up("account-by-email", &key, &Shared::default()).await.unwrap();
            answered.set(answered.get() + u64::from(!sighting.failed));
        }
    };
    let watches = async {
        let mut samples = Vec::new();
        let mut ticks = tokio::time::interval(Duration::from_millis(EVERY_MS));
        ticks.tick().await;
        for phase in &PHASES {
            platform.set_faults((phase.faults)(Faults { latency_ms: 20, jitter_ms: 10, ..Faults::default() }));
            let first = samples.len();
            for _ in 0..phase.seconds * 1000 / EVERY_MS {
                ticks.tick().await;
                samples.push(Sample { allowed: lookups.pace().in_flight_allowed(), answers: answered.replace(0) });
            }
            let allowed = || samples[first..].iter().map(|sample: &Sample| sample.allowed);
            println!("{}: {:?} to {:?} in flight", phase.name, allowed().min(), allowed().max());
            match phase.name == WELL {
                true => assert_eq!(allowed().next_back(), Some(CONCURRENCY), "it comes back"),
                false => assert!(allowed().min() <= Some(CONCURRENCY / 4), "it eases"),
            }
        }
        over.set(true);
        samples
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { join(watches, join_all((0..CONCURRENCY).map(|_| asks()))).await.0 })
}

//! How long the properties of the decision are tried: in `cargo test` a fixed set of cases, the same on every machine; in a
//! soak as many others as are asked for (`PROPTEST_CASES=60000 PROPTEST_RNG_SEED=7 cargo test --release --lib decide`).

use proptest::test_runner::{Config, RngSeed};

/// `cases` unless the environment asks for another number, from the same seed unless it names one.
pub fn config(cases: u32) -> Config {
    let asked = Config::default();
    /// What the library takes when nothing is asked for.
    const USUAL: u32 = 256;
    Config {
        cases: if asked.cases == USUAL { cases } else { asked.cases },
        rng_seed: if asked.rng_seed == RngSeed::Random { RngSeed::Fixed(1) } else { asked.rng_seed },
        max_shrink_iters: 20_000,
        ..asked
    }
}

//! `resend`: what may be sent again, who approved it, and the permits with which the partner's own code sends it.

mod each;
mod list;
mod permits;
mod talk;

use anyhow::Result;

use super::signals;
use crate::cli::ResendArgs;
use crate::clock::Moment;
use crate::config::Config;
use crate::ledger::Ledger;
use crate::lookup::Lookups;
use permits::Handing;

/// Shows the list, approves it, or hands permits out; gives the exit code.
pub async fn resend(config: &Config, args: &ResendArgs, json: bool) -> Result<u8> {
    if let Some((digest, who)) = args.approve.as_deref().zip(args.who.as_deref()) {
        list::approve(config, digest, who)?;
    }
    if !args.stdin && args.command.is_empty() {
        return list::show(config, json);
    }
    let (salt, identity) = {
        let ledger = super::opened(config, Ledger::open)?;
        (ledger.salt().to_owned(), ledger.identity().to_owned())
    };
    let reader = config.reader(&salt);
    let lookups = Lookups::new(config, Moment::by_the_store)?;
    let mut handing = Handing::new(config, &reader, &lookups, &identity, args)?;
    let halt = signals::halt()?;
    match args.stdin {
        true => talk::talk(&mut handing, halt).await,
        false => each::each(&mut handing, config, &args.command, json, halt).await,
    }
}

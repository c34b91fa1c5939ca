//! `sandbox`: a look-alike of PRIVO's APIs on this machine, until it is stopped.

use std::io::Write;

use anyhow::{Context, Result, bail};

use crate::cli::SandboxArgs;
use crate::clock::Moment;
use crate::document;
use crate::exit::{self, Refused};
use crate::sandbox::{Faults, Sandbox, Settings};

/// The sandbox's credentials and service identifier.
pub const CLIENT: &str = "sandbox";

pub async fn serve(args: &SandboxArgs, json: bool) -> Result<u8> {
    if !args.listen.ip().is_loopback() {
        bail!(Refused("the sandbox is for this machine only (listen on 127.0.0.1 or [::1])".to_owned()));
    }
    let faults = match &args.faults {
        None => Faults::default(),
        Some(file) => read_faults(file).map_err(|error| Refused(format!("{error:#}")))?,
    };
    // Whoever reads the URL may stop it at once.
    let mut halt = super::signals::halt()?;
    let sandbox = Sandbox::start(settings(args.listen, args.seed, faults)).await?;
    if json {
        let shown = serde_json::json!({ "url": sandbox.url(), "client": CLIENT });
        document::print("sandbox", exit::DONE, &shown)?;
    } else {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", sandbox.url())?;
        out.flush()?;
        drop(out);
        let _ = writeln!(
            std::io::stderr(),
            "sandbox of both APIs at {}; client_id and client_secret `{CLIENT}`, service `{CLIENT}`; stop it with Ctrl-C",
            sandbox.url()
        );
    }
    halt.asked().await;
    sandbox.stop().await;
    Ok(exit::DONE)
}

fn read_faults(file: &std::path::Path) -> Result<Faults> {
    let place = file.display().to_string();
    let text = std::fs::read_to_string(file).with_context(|| format!("failed to read the faults {place}"))?;
    let faults: Faults =
        toml::from_str(&text).map_err(|error| crate::mistake::toml_error(&place, &text, "", &error))?;
    faults.check().map_err(|why| anyhow::anyhow!("{place}: {why}"))?;
    Ok(faults)
}

/// The sandbox's settings for this program's clock.
pub fn settings(listen: std::net::SocketAddr, seed: u64, faults: Faults) -> Settings {
    Settings {
        listen,
        seed,
        faults,
        client_id: CLIENT.to_owned(),
        client_secret: CLIENT.to_owned(),
        service: CLIENT.to_owned(),
        clock: || Moment::now().0,
    }
}

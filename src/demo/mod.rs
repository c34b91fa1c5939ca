//! The demo.
use anyhow::Result;

use crate::cli::DemoArgs;

pub async fn demo(_args: &DemoArgs) -> Result<u8> {
    Ok(0)
}

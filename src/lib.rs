pub mod clock;
pub mod config;
pub mod decide;
pub mod evidence;
pub mod mask;
pub mod plan;
pub mod sandbox;
pub mod words;

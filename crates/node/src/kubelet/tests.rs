//! Pods' lives under paused time: the real workers over a runtime, an API and probes that only
//! remember, and do what a test tells them.

mod life;
mod table;
mod with_api;
mod world;

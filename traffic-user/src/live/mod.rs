//! A running capture, shown: in the terminal, in browsers, to Prometheus.
//!
//! The capture makes a [`LiveReport`](view::LiveReport) now and then, as long as somebody looks.
//! Whoever shows it runs on a thread of its own and takes the newest one, so that no screen and no
//! client can slow the capture.

pub mod metrics;
mod scroll;
pub mod terminal;
pub mod view;
pub mod web;

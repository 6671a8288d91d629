//! The face of Countersign: the clients' protocols, our JSON API, the pages.
//!
//! [`app`] makes the service, [`serve`] gives it sockets. A request passes [`pipeline`]: index pages and small files
//! that lie in memory are answered at once; everything else goes through the gate for restricted instances and then
//! to the router. Handlers return errors as values; `error` words them for the caller's client.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answer;
pub mod api;
pub mod assessment;
mod body;
pub mod caller;
pub mod error;
mod error_codes;
mod metering;
mod operation;
pub mod pages;
mod pipeline;
mod policies;
mod protocols;
mod request_log;
mod server;
mod session;
mod settings;
mod site;

pub use body::AnswerBody;
pub use pipeline::{App, RequestId, app};
pub use policies::{LONGEST_POLICY, MOST_POLICIES, Policies, Policy, PolicyFacts, PolicyFault};
pub use server::serve;
pub use settings::{FaceSettings, SecurityTxt, SlowestBody};
pub use site::Site;

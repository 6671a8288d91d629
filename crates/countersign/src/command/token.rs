//! `countersign token …`.

use countersign::{Failure, account};
use serde_json::json;

use super::session::dead;
use super::{in_person, line, notes};
use crate::cli::{Common, Token};

/// Lists and revokes tokens.
pub fn run(common: &Common, what: &Token) -> Result<(), Failure> {
    let (remote, from) = in_person(common)?;
    notes(common)(&format!("Asking {} with {from}.", remote.site()));
    let dead = |failure| dead(failure, &from, &remote);
    match what {
        Token::List => {
            let answer = account::tokens(&remote).map_err(dead)?;
            if common.json {
                line(&answer.to_string());
            } else {
                account::describe_tokens(&answer)?
                    .iter()
                    .for_each(|text| line(text));
            }
        }
        Token::Revoke { which } => {
            account::revoke(&remote, which).map_err(dead)?;
            line(&if common.json {
                json!({"revoked": which}).to_string()
            } else {
                format!("Revoked {which}, with effect at once.")
            });
        }
    }
    Ok(())
}

//! Are the logs of services, in the database, those that were signed, and can they go on?

use countersign_trust::checkpoint;
use countersign_trust::tlog::{self, Frontier};

use super::{Diagnosis, Patient, Severity, some};
use crate::error::Result;
use crate::keys::LogKeys;
use crate::log_service::{key_stem, verifiers};
use crate::model::LogId;
use crate::store::LogServiceRow;

const ID: &str = "service-logs";

/// What is wrong with one of them.
async fn fault(patient: &Patient<'_>, row: &LogServiceRow) -> Result<Option<String>> {
    let Some(head) = patient.store.log_service_head(&row.name).await? else {
        return Ok(Some("it has no head".to_owned()));
    };
    let keys = verifiers(row);
    match checkpoint::open(head.checkpoint.as_bytes(), &keys, &row.origin) {
        Ok(seen) if (seen.size(), seen.root()) == (head.size, head.root) => {}
        Ok(_) => return Ok(Some("its head is not what was signed".to_owned())),
        Err(error) => return Ok(Some(format!("its checkpoint does not verify: {error}"))),
    }
    let log = LogId::Service(row.name.clone());
    let mut frontier = Frontier::empty();
    while frontier.size() < head.size {
        let wanted = (head.size - frontier.size()).min(4_096);
        let entries = patient.store.entries(&log, frontier.size(), wanted).await?;
        if entries
            .first()
            .is_none_or(|(index, _)| *index != frontier.size())
        {
            let index = frontier.size();
            return Ok(Some(format!("the database lacks its entry {index}")));
        }
        for (_, entry) in entries {
            frontier.append(tlog::leaf_hash(&entry));
        }
    }
    if frontier.root() != head.root {
        return Ok(Some(
            "its entries do not give the root that was signed".to_owned(),
        ));
    }
    let Some(folder) = patient.keys_folder.filter(|_| row.frozen.is_none()) else {
        return Ok(None);
    };
    Ok(match LogKeys::load_named(folder, &key_stem(&row.name)) {
        Ok(own) if own.origin() == row.origin => None,
        Ok(own) => Some(format!("its key is that of {}", own.origin())),
        Err(error) => Some(error.message),
    })
}

pub(super) async fn log_services(patient: &Patient<'_>) -> Result<Diagnosis> {
    let rows = patient.store.log_services().await?;
    let mut faults = Vec::new();
    for row in &rows {
        if let Some(what) = fault(patient, row).await? {
            faults.push(format!("{}: {what}", row.name));
        }
    }
    Ok(if faults.is_empty() {
        let count = rows.len();
        Diagnosis::good(
            ID,
            format!("{count} logs of services give the signed roots"),
        )
    } else {
        Diagnosis::bad(
            ID,
            Severity::Error,
            format!("{}.", some(&faults)),
            "Such a log can not go on, or signing on would fork it.",
            "Bring the newest database and the log's keys back; what can not go on is closed with `countersignd log service close NAME`.",
        )
    })
}

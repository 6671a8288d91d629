//! What the map was made of and up to where, and leaves as it and its readers need them.

use std::cmp::Ordering;
use std::collections::HashMap;

use countersign_trust::digest::Sha256;
use countersign_trust::map;
use sqlx::any::AnyRow;

use super::beats::hash;
use super::{
    Store, Tx, WRITE_CONFLICT, built, failed, number, places, signed, text, time, unsigned,
    value_rows,
};
use crate::error::{Error, Kind, Result};
use crate::model::{ProjectId, Time};

/// A place in the whole log: a shard, and an index in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LogPlace {
    pub(crate) shard: u64,
    pub(crate) index: u64,
}

impl LogPlace {
    /// Before the first leaf of all.
    pub(crate) const START: Self = Self { shard: 1, index: 0 };
}

/// Up to where the map is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MapState {
    /// The first leaf that it does not cover.
    pub(crate) covers: LogPlace,
    /// Its root.
    pub(crate) root: Sha256,
    /// The first leaf that the projects' states do not count.
    pub(crate) folded: LogPlace,
    /// When a root was last committed.
    pub(crate) committed: Time,
}

impl Default for MapState {
    fn default() -> Self {
        Self {
            covers: LogPlace::START,
            root: map::EMPTY_MAP,
            folded: LogPlace::START,
            committed: Time(0),
        }
    }
}

/// A leaf as the map sees it.
pub(crate) struct MappedLeaf {
    pub(crate) place: LogPlace,
    pub(crate) kind: String,
    pub(crate) subject: String,
    pub(crate) hash: Sha256,
}

/// A leaf of a project, with its text.
pub(crate) struct ProjectLeaf {
    pub(crate) place: LogPlace,
    pub(crate) body: String,
}

fn state(row: &AnyRow) -> Result<MapState> {
    let place = |shard: &str, index: &str| {
        Ok::<_, Error>(LogPlace {
            shard: unsigned(row, shard)?,
            index: unsigned(row, index)?,
        })
    };
    Ok(MapState {
        covers: place("shard", "idx")?,
        root: hash(row, "root")?,
        folded: place("folded_shard", "folded_idx")?,
        committed: time(row, "committed_at")?,
    })
}

fn mapped(row: &AnyRow) -> Result<MappedLeaf> {
    Ok(MappedLeaf {
        place: LogPlace {
            shard: unsigned(row, "shard")?,
            index: unsigned(row, "idx")?,
        },
        kind: text(row, "kind")?,
        subject: text(row, "subject")?,
        hash: hash(row, "hash")?,
    })
}

fn project_state(row: &AnyRow) -> Result<map::ProjectState> {
    Ok(map::ProjectState {
        count: unsigned(row, "count")?,
        chain: hash(row, "chain")?,
    })
}

impl Store {
    /// Up to where the map is made; nothing yet is a state too.
    pub(crate) async fn map_state(&self) -> Result<MapState> {
        let row = sqlx::query(
            "SELECT shard, idx, root, folded_shard, folded_idx, committed_at FROM map_state WHERE name = 'map'",
        )
        .fetch_optional(&self.near)
        .await
        .map_err(failed)?;
        row.as_ref().map_or_else(|| Ok(MapState::default()), state)
    }

    /// Served leaves from a place on, through all logs in their order.
    pub(crate) async fn leaves_to_map(
        &self,
        from: LogPlace,
        limit: u64,
    ) -> Result<Vec<MappedLeaf>> {
        let mut leaves = Vec::new();
        for head in self.heads().await? {
            let first = match head.shard.cmp(&from.shard) {
                Ordering::Less => continue,
                Ordering::Equal => from.index,
                Ordering::Greater => 0,
            };
            let rows = sqlx::query(
                "SELECT shard, idx, kind, subject, hash FROM leaves WHERE shard = $1 AND idx >= $2 AND idx < $3 ORDER BY idx LIMIT $4",
            )
            .bind(signed(head.shard))
            .bind(signed(first))
            .bind(signed(head.size))
            .bind(signed(limit - leaves.len() as u64))
            .fetch_all(&self.read)
            .await
            .map_err(failed)?;
            for row in &rows {
                leaves.push(mapped(row)?);
            }
            if leaves.len() as u64 >= limit {
                break;
            }
        }
        Ok(leaves)
    }

    /// How many leaves are served from a place on.
    pub(crate) async fn leaves_since(&self, from: LogPlace) -> Result<u64> {
        let mut since = 0;
        for head in self.heads().await? {
            if head.shard > from.shard {
                since += head.size;
            } else if head.shard == from.shard {
                since += head.size.saturating_sub(from.index);
            }
        }
        Ok(since)
    }

    /// The states of projects, by their keys in the map; those that have none are left out.
    pub(crate) async fn mapped_projects(
        &self,
        keys: &[Sha256],
    ) -> Result<HashMap<Sha256, map::ProjectState>> {
        let mut states = HashMap::with_capacity(keys.len());
        for chunk in keys.chunks(500) {
            let sql = format!(
                "SELECT key, count, chain FROM map_projects WHERE key IN ({})",
                places(chunk.len(), 1)
            );
            let mut query = sqlx::query(built(sql));
            for key in chunk {
                query = query.bind(key.to_string());
            }
            for row in &query.fetch_all(&self.near).await.map_err(failed)? {
                states.insert(hash(row, "key")?, project_state(row)?);
            }
        }
        Ok(states)
    }

    /// All projects whose keys begin with a byte, in the order of their keys.
    pub(crate) async fn mapped_projects_below(
        &self,
        byte: u8,
    ) -> Result<Vec<(Sha256, map::ProjectState)>> {
        let (first, last) = ([byte; 1], [[byte; 1].as_slice(), &[0xff; 31]].concat());
        let rows = sqlx::query(
            "SELECT key, count, chain FROM map_projects WHERE key >= $1 AND key <= $2 ORDER BY key",
        )
        .bind(hex::encode(first))
        .bind(hex::encode(last))
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| Ok((hash(row, "key")?, project_state(row)?)))
            .collect()
    }

    /// The newest served leaf of a shard that commits to a map: its index and text.
    pub(crate) async fn newest_map_root(&self, shard: u64) -> Result<Option<(u64, String)>> {
        let row = sqlx::query(
            "SELECT l.idx, l.body FROM leaves l JOIN log_head h ON h.shard = l.shard \
             WHERE l.shard = $1 AND l.kind = 'map-root' AND l.idx < h.size ORDER BY l.idx DESC LIMIT 1",
        )
        .bind(signed(shard))
        .fetch_optional(&self.near)
        .await
        .map_err(failed)?;
        row.map(|row| Ok((unsigned(&row, "idx")?, text(&row, "body")?)))
            .transpose()
    }

    /// A project's leaves below a place, in their order; `None` where their texts have more than `most` bytes.
    pub(crate) async fn leaves_of_project(
        &self,
        project: &ProjectId,
        below: LogPlace,
        most: u64,
    ) -> Result<Option<Vec<ProjectLeaf>>> {
        let condition =
            "FROM leaves WHERE project_id = $1 AND (shard < $2 OR (shard = $2 AND idx < $3))";
        let row = sqlx::query(built(format!(
            "SELECT CAST(COALESCE(sum(length(body)), 0) AS BIGINT) AS n {condition}"
        )))
        .bind(project.0.clone())
        .bind(signed(below.shard))
        .bind(signed(below.index))
        .fetch_one(&self.read)
        .await
        .map_err(failed)?;
        if number(&row, "n")? > signed(most) {
            return Ok(None);
        }
        let rows = sqlx::query(built(format!(
            "SELECT shard, idx, body {condition} ORDER BY shard, idx"
        )))
        .bind(project.0.clone())
        .bind(signed(below.shard))
        .bind(signed(below.index))
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        let leaves: Result<Vec<ProjectLeaf>> = rows
            .iter()
            .map(|row| {
                Ok(ProjectLeaf {
                    place: LogPlace {
                        shard: unsigned(row, "shard")?,
                        index: unsigned(row, "idx")?,
                    },
                    body: text(row, "body")?,
                })
            })
            .collect();
        leaves.map(Some)
    }

    /// Lists of tiles that only roots of before a time need, at most so many.
    pub(crate) async fn superseded_before(
        &self,
        time: Time,
        limit: u64,
    ) -> Result<Vec<(String, String)>> {
        let rows =
            sqlx::query("SELECT id, tiles FROM map_superseded WHERE at < $1 ORDER BY at LIMIT $2")
                .bind(time.0)
                .bind(signed(limit))
                .fetch_all(&self.read)
                .await
                .map_err(failed)?;
        rows.iter()
            .map(|row| Ok((text(row, "id")?, text(row, "tiles")?)))
            .collect()
    }
}

impl Store {
    /// How many projects the map has, and how many identifiers were ever given.
    pub(crate) async fn map_counts(&self) -> Result<(u64, u64)> {
        let projects = self.count("SELECT count(*) AS n FROM map_projects").await?;
        let identifiers = self
            .count("SELECT count(*) AS n FROM leaves l JOIN log_head h ON h.shard = l.shard WHERE l.kind = 'file-published' AND l.idx < h.size")
            .await?;
        Ok((
            u64::try_from(projects).unwrap_or(0),
            u64::try_from(identifiers).unwrap_or(0),
        ))
    }
}

impl Tx {
    /// Forgets commitments to the map that wait for a place in the log: those of a log that was closed say nothing in the next.
    pub(crate) async fn drop_waiting_map_roots(&mut self) -> Result<()> {
        let waiting = "SELECT o.event_id FROM outbox o JOIN events e ON e.id = o.event_id WHERE e.kind = 'map-root'";
        let rows = sqlx::query(waiting)
            .fetch_all(&mut *self.inner)
            .await
            .map_err(failed)?;
        for row in &rows {
            let event = text(row, "event_id")?;
            for statement in [
                "DELETE FROM outbox WHERE event_id = $1",
                "DELETE FROM events WHERE id = $1",
            ] {
                sqlx::query(statement)
                    .bind(event.clone())
                    .execute(&mut *self.inner)
                    .await
                    .map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Moves the map's state on, if it still is what it was: the compare-and-swap that makes two makers harmless.
    pub(crate) async fn swap_map_state(&mut self, from: &MapState, to: &MapState) -> Result<()> {
        sqlx::query(
            "INSERT INTO map_state (name, shard, idx, root, folded_shard, folded_idx, committed_at) \
             VALUES ('map', 1, 0, $1, 1, 0, 0) ON CONFLICT (name) DO NOTHING",
        )
        .bind(map::EMPTY_MAP.to_string())
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        let done = sqlx::query(
            "UPDATE map_state SET shard = $1, idx = $2, root = $3, folded_shard = $4, folded_idx = $5, committed_at = $6 \
             WHERE name = 'map' AND shard = $7 AND idx = $8 AND root = $9 AND folded_shard = $10 AND folded_idx = $11 AND committed_at = $12",
        )
        .bind(signed(to.covers.shard))
        .bind(signed(to.covers.index))
        .bind(to.root.to_string())
        .bind(signed(to.folded.shard))
        .bind(signed(to.folded.index))
        .bind(to.committed.0)
        .bind(signed(from.covers.shard))
        .bind(signed(from.covers.index))
        .bind(from.root.to_string())
        .bind(signed(from.folded.shard))
        .bind(signed(from.folded.index))
        .bind(from.committed.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        if done.rows_affected() == 1 {
            Ok(())
        } else {
            Err(Error::new(
                Kind::Conflict,
                WRITE_CONFLICT,
                "Another countersignd moved the map on first.",
            ))
        }
    }

    /// Sets the states of projects.
    pub(crate) async fn set_mapped_projects(
        &mut self,
        states: &HashMap<Sha256, map::ProjectState>,
    ) -> Result<()> {
        let states: Vec<_> = states.iter().collect();
        for chunk in states.chunks(500) {
            let sql = format!(
                "INSERT INTO map_projects (key, count, chain) VALUES {} ON CONFLICT (key) DO UPDATE \
                 SET count = excluded.count, chain = excluded.chain",
                value_rows(chunk.len(), 3, 1)
            );
            let mut query = sqlx::query(built(sql));
            for (key, state) in chunk {
                query = query
                    .bind(key.to_string())
                    .bind(signed(state.count))
                    .bind(state.chain.to_string());
            }
            query.execute(&mut *self.inner).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Notes tiles that only older roots need, one a line.
    pub(crate) async fn supersede_tiles(&mut self, id: &str, at: Time, tiles: &str) -> Result<()> {
        sqlx::query("INSERT INTO map_superseded (id, at, tiles) VALUES ($1, $2, $3)")
            .bind(id.to_owned())
            .bind(at.0)
            .bind(tiles.to_owned())
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// Such a list is done with.
    pub(crate) async fn forget_superseded(&mut self, id: &str) -> Result<()> {
        sqlx::query("DELETE FROM map_superseded WHERE id = $1")
            .bind(id.to_owned())
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// Forgets the map altogether; it is made again from the leaves.
    pub(crate) async fn forget_map(&mut self) -> Result<()> {
        for statement in [
            "DELETE FROM map_state",
            "DELETE FROM map_projects",
            "DELETE FROM map_superseded",
        ] {
            sqlx::query(statement)
                .execute(&mut *self.inner)
                .await
                .map_err(failed)?;
        }
        Ok(())
    }
}

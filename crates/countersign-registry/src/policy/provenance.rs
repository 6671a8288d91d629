//! Never silently lost: a publication is held against the level and the source that its project is remembered for.

use countersign_trust::oidc::Difference;

use super::denied;
use crate::error::{Error, Result};
use crate::model::{ChangeKind, SourceTuple, TrustLevel};
use crate::settings::LossRule;
use crate::store::ChangeFacts;

/// What a project is remembered for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory<'a> {
    pub(crate) project: &'a str,
    pub(crate) level: TrustLevel,
    pub(crate) source: Option<&'a SourceTuple>,
}

/// What a publication brings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offer<'a> {
    pub(crate) level: TrustLevel,
    pub(crate) source: Option<&'a SourceTuple>,
}

/// How a publication passed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Passed {
    /// Changes that it used: an exception, a declared move.
    pub(crate) used: Vec<String>,
    /// The remembered source has another name now, by the same immutable ids.
    pub(crate) renamed: bool,
    /// The source to remember from now on, where it is not the one remembered.
    pub(crate) remember: Option<SourceTuple>,
    /// What was lost and only warned of, in sentences.
    pub(crate) lost: Vec<String>,
}

/// How one source stands to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Likeness {
    /// The same.
    Same,
    /// The same ids under another name.
    Renamed,
    /// Another one; the rows that differ say in what.
    Other(Vec<Difference>),
}

/// Is what is offered the source that is known? Immutable ids decide where both have them, names where there are none.
/// A known id that is not told any more makes it another source: a repository that was deleted and made again has its
/// old name. A known owner's id must not change either: a repository that was handed over has other masters.
pub(crate) fn likeness(known: &SourceTuple, offered: &SourceTuple) -> Likeness {
    let row = |claim: &str, expected: &str, seen: Option<&str>, matched: bool| Difference {
        claim: claim.to_owned(),
        expected: expected.to_owned(),
        seen: seen.map(str::to_owned),
        matched,
        advice: None,
    };
    let named_alike = known.repository.eq_ignore_ascii_case(&offered.repository);
    let mut rows = vec![row(
        "issuer",
        &known.issuer,
        Some(&offered.issuer),
        known.issuer == offered.issuer,
    )];
    for (claim, known, offered) in [
        (
            "repository_id",
            &known.repository_id,
            &offered.repository_id,
        ),
        ("owner_id", &known.owner_id, &offered.owner_id),
    ] {
        if let Some(known) = known {
            rows.push(row(
                claim,
                known,
                offered.as_deref(),
                offered.as_ref() == Some(known),
            ));
        }
    }
    if known.repository_id.is_none() {
        rows.push(row(
            "repository",
            &known.repository,
            Some(&offered.repository),
            named_alike,
        ));
    }
    if rows.iter().all(|row| row.matched) {
        return if named_alike {
            Likeness::Same
        } else {
            Likeness::Renamed
        };
    }
    if known.repository_id.is_some() {
        rows.push(row(
            "repository",
            &known.repository,
            Some(&offered.repository),
            named_alike,
        ));
    }
    Likeness::Other(rows)
}

/// May this publication pass, and what does it change? `open` are the changes that hold now. Where an owner approved this
/// very file below the level, the level is no obstacle and the loss is noted; another source stays another source.
pub(crate) fn not_lost(
    memory: Memory<'_>,
    offer: Offer<'_>,
    open: &[ChangeFacts],
    rule: LossRule,
    approved: bool,
) -> Result<Passed> {
    let mut passed = Passed::default();
    if offer.level < memory.level {
        let excepted = open.iter().find(|change| {
            change.kind == ChangeKind::Exception
                && change.level.is_some_and(|level| level <= offer.level)
        });
        match (excepted, rule) {
            (Some(change), _) => passed.used.push(change.id.clone()),
            (None, _) if approved => passed.lost.push(format!(
                "{} An owner approved this one file.",
                below(memory, offer).message
            )),
            (None, LossRule::Refuse) => return Err(below(memory, offer)),
            (None, LossRule::Warn) => passed.lost.push(below(memory, offer).message),
        }
    }
    if offer.level < TrustLevel::Workflow {
        // Nobody vouches for a source; that is the lower level, judged above.
        return Ok(passed);
    }
    let (Some(known), offered) = (memory.source, offer.source) else {
        passed.remember = offer.source.cloned();
        return Ok(passed);
    };
    let likeness = match offered {
        Some(offered) => likeness(known, offered),
        None => Likeness::Other(Vec::new()),
    };
    match likeness {
        Likeness::Same => {
            // Ids that the provider did not tell before are remembered too.
            passed.remember = offered.filter(|offered| learns(known, offered)).cloned();
        }
        Likeness::Renamed => {
            passed.renamed = true;
            passed.remember = offered.cloned();
        }
        Likeness::Other(rows) => {
            let moved = open.iter().find(|change| {
                change.kind == ChangeKind::Move
                    && change
                        .to
                        .as_ref()
                        .zip(offered)
                        .is_some_and(|(to, offered)| {
                            !matches!(self::likeness(to, offered), Likeness::Other(_))
                        })
            });
            match (moved, rule) {
                (Some(change), _) => {
                    passed.used.push(change.id.clone());
                    passed.remember = offered.cloned();
                }
                (None, LossRule::Refuse) => return Err(elsewhere(memory, known, offered, rows)),
                (None, LossRule::Warn) => {
                    passed
                        .lost
                        .push(elsewhere(memory, known, offered, rows).message);
                }
            }
        }
    }
    Ok(passed)
}

/// Does the offered source tell an id that is not known yet?
fn learns(known: &SourceTuple, offered: &SourceTuple) -> bool {
    (known.repository_id.is_none() && offered.repository_id.is_some())
        || (known.owner_id.is_none() && offered.owner_id.is_some())
}

fn below(memory: Memory<'_>, offer: Offer<'_>) -> Error {
    let how = match memory.level {
        TrustLevel::Provenance => {
            "Publish from the project's workflow with attestations, as before."
        }
        _ => "Publish from the project's workflow with an identity token, as before.",
    };
    let mut error = denied(
        "trust-lost",
        format!(
            "{} was published with the level {} before; this is {}.",
            memory.project,
            memory.level.as_str(),
            offer.level.as_str()
        ),
        "",
    );
    error.remedy = Some(format!(
        "{how} Where this is meant, an owner opens an exception first, signed in with a passkey: the project's provenance settings."
    ));
    error.differences.push(Difference {
        claim: "level".to_owned(),
        expected: memory.level.as_str().to_owned(),
        seen: Some(offer.level.as_str().to_owned()),
        matched: false,
        advice: None,
    });
    error
}

fn elsewhere(
    memory: Memory<'_>,
    known: &SourceTuple,
    offered: Option<&SourceTuple>,
    rows: Vec<Difference>,
) -> Error {
    let from = offered.map_or_else(
        || "a workflow that names no repository".to_owned(),
        |offered| offered.repository.clone(),
    );
    let same_name =
        offered.is_some_and(|offered| offered.repository.eq_ignore_ascii_case(&known.repository));
    let but = if same_name {
        ", which has the same name but is not the same repository or has another owner"
    } else {
        ""
    };
    let mut error = denied(
        "source-changed",
        format!(
            "{} was built from {} before; this comes from {from}{but}.",
            memory.project, known.repository
        ),
        "Publish from the source that the project is known for. Where it has moved, an owner declares that first, signed in with a passkey: the project's provenance settings.",
    );
    error.differences = rows;
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(repository: &str, id: Option<&str>, owner: Option<&str>) -> SourceTuple {
        SourceTuple {
            issuer: "https://ci.example".to_owned(),
            repository: format!("https://forge.example/{repository}"),
            repository_id: id.map(str::to_owned),
            owner_id: owner.map(str::to_owned),
        }
    }

    fn exception(level: TrustLevel) -> ChangeFacts {
        ChangeFacts {
            id: "exception".to_owned(),
            kind: ChangeKind::Exception,
            level: Some(level),
            to: None,
        }
    }

    fn moved(to: SourceTuple) -> ChangeFacts {
        ChangeFacts {
            id: "move".to_owned(),
            kind: ChangeKind::Move,
            level: None,
            to: Some(to),
        }
    }

    fn judge(
        level: TrustLevel,
        known: Option<&SourceTuple>,
        offered: TrustLevel,
        from: Option<&SourceTuple>,
        open: &[ChangeFacts],
        rule: LossRule,
    ) -> Result<Passed> {
        not_lost(
            Memory {
                project: "demo",
                level,
                source: known,
            },
            Offer {
                level: offered,
                source: from,
            },
            open,
            rule,
            false,
        )
    }

    const LEVELS: [TrustLevel; 4] = [
        TrustLevel::None,
        TrustLevel::Token,
        TrustLevel::Workflow,
        TrustLevel::Provenance,
    ];

    #[test]
    fn every_pair_of_levels_passes_only_upwards_or_by_an_exception_that_reaches_down_to_it() {
        for before in LEVELS {
            for now in LEVELS {
                let bare = judge(before, None, now, None, &[], LossRule::Refuse);
                assert_eq!(bare.is_ok(), now >= before, "{before:?} then {now:?}");
                if let Err(error) = bare {
                    assert_eq!(error.code, "trust-lost");
                }
                let warned = judge(before, None, now, None, &[], LossRule::Warn).unwrap();
                assert_eq!(warned.lost.is_empty(), now >= before);
                for reach in LEVELS {
                    let open = [exception(reach)];
                    let with = judge(before, None, now, None, &open, LossRule::Refuse);
                    assert_eq!(
                        with.is_ok(),
                        now >= before || now >= reach,
                        "{before:?} then {now:?} with an exception to {reach:?}"
                    );
                    if let Ok(passed) = with {
                        assert_eq!(passed.used.is_empty(), now >= before);
                    }
                }
            }
        }
    }

    #[test]
    fn an_owners_approval_of_a_file_passes_the_level_and_is_noted_but_never_another_source() {
        let (known, other) = (
            source("org/demo", Some("1"), Some("9")),
            source("thief/demo", Some("2"), Some("8")),
        );
        let judge = |level, from, approved| {
            not_lost(
                Memory {
                    project: "demo",
                    level: TrustLevel::Provenance,
                    source: Some(&known),
                },
                Offer {
                    level,
                    source: from,
                },
                &[],
                LossRule::Refuse,
                approved,
            )
        };
        assert!(judge(TrustLevel::Token, None, false).is_err());
        let passed = judge(TrustLevel::Token, None, true).unwrap();
        assert_eq!(passed.lost.len(), 1);
        assert_eq!(
            judge(TrustLevel::Workflow, Some(&other), true)
                .unwrap_err()
                .code,
            "source-changed"
        );
    }

    #[test]
    fn sources_are_told_apart_by_their_ids_and_without_ids_by_their_names() {
        let known = source("org/demo", Some("1"), Some("9"));
        let nameless = source("org/demo", None, None);
        let table = [
            (
                &known,
                source("org/demo", Some("1"), Some("9")),
                Likeness::Same,
            ),
            (
                &known,
                source("ORG/Demo", Some("1"), Some("9")),
                Likeness::Same,
            ),
            (
                &known,
                source("org/new", Some("1"), Some("9")),
                Likeness::Renamed,
            ),
            (&nameless, source("org/demo", None, None), Likeness::Same),
            (
                &nameless,
                source("org/demo", Some("1"), Some("9")),
                Likeness::Same,
            ),
        ];
        for (known, offered, wanted) in table {
            assert_eq!(likeness(known, &offered), wanted, "{offered:?}");
        }
        for other in [
            source("org/demo", Some("2"), Some("9")), // made again under the old name
            source("org/demo", None, None),           // does not tell any more
            source("org/demo", Some("1"), Some("8")), // handed over
            source("thief/demo", Some("2"), Some("8")),
            SourceTuple {
                issuer: "https://other.example".to_owned(),
                ..known.clone()
            },
        ] {
            assert!(
                matches!(likeness(&known, &other), Likeness::Other(_)),
                "{other:?}"
            );
        }
        assert!(matches!(
            likeness(&nameless, &source("org/other", Some("1"), None)),
            Likeness::Other(_)
        ));
    }

    #[test]
    fn another_source_passes_only_by_a_move_declared_to_it() {
        let known = source("org/demo", Some("1"), Some("9"));
        let new = source("org/new", Some("2"), Some("9"));
        let level = TrustLevel::Workflow;
        let refused = judge(
            level,
            Some(&known),
            level,
            Some(&new),
            &[],
            LossRule::Refuse,
        )
        .unwrap_err();
        assert_eq!(refused.code, "source-changed");
        let none = judge(level, Some(&known), level, None, &[], LossRule::Refuse).unwrap_err();
        assert_eq!(none.code, "source-changed");
        // An exception is about levels, and a move elsewhere is a move elsewhere.
        for open in [
            exception(TrustLevel::None),
            moved(source("org/third", Some("3"), Some("9"))),
            moved(source("org/new", Some("5"), Some("9"))),
        ] {
            assert!(
                judge(
                    level,
                    Some(&known),
                    level,
                    Some(&new),
                    &[open],
                    LossRule::Refuse
                )
                .is_err()
            );
        }
        for to in [new.clone(), source("org/new", None, None)] {
            let passed = judge(
                level,
                Some(&known),
                level,
                Some(&new),
                &[moved(to)],
                LossRule::Refuse,
            )
            .unwrap();
            assert_eq!(passed.used, ["move"]);
            assert_eq!(passed.remember, Some(new.clone()));
        }
        let warned = judge(level, Some(&known), level, Some(&new), &[], LossRule::Warn).unwrap();
        assert_eq!(warned.lost.len(), 1);
        // Who only warns does not forget either.
        assert_eq!(warned.remember, None);
    }

    #[test]
    fn a_rename_with_the_same_ids_passes_and_is_remembered() {
        let known = source("org/demo", Some("1"), Some("9"));
        let new = source("org/new", Some("1"), Some("9"));
        let level = TrustLevel::Provenance;
        let passed = judge(
            level,
            Some(&known),
            level,
            Some(&new),
            &[],
            LossRule::Refuse,
        )
        .unwrap();
        assert!(passed.renamed);
        assert_eq!(passed.remember, Some(new));
    }

    #[test]
    fn ids_that_were_not_told_before_are_learnt_and_never_unlearnt() {
        let (bare, full) = (
            source("org/demo", None, None),
            source("org/demo", Some("1"), Some("9")),
        );
        let level = TrustLevel::Workflow;
        let passed = judge(
            level,
            Some(&bare),
            level,
            Some(&full),
            &[],
            LossRule::Refuse,
        )
        .unwrap();
        assert_eq!(passed.remember, Some(full.clone()));
        assert!(
            judge(
                level,
                Some(&full),
                level,
                Some(&bare),
                &[],
                LossRule::Refuse
            )
            .is_err()
        );
        let again = judge(
            level,
            Some(&full),
            level,
            Some(&full),
            &[],
            LossRule::Refuse,
        )
        .unwrap();
        assert_eq!(again, Passed::default());
    }
}

//! What advisories say about a release and about what it needs, on its page.

use countersign_formats::Ecosystem;
use countersign_formats::osv::Advisory;
use countersign_registry::model::ReleaseDetail;
use countersign_registry::{Concern, DependencyConcern, Registry, Result};

use super::links;
use super::phrase::{Day, counted, shortened};

/// Advisories of one dependency that are named on a page.
const NAMED: usize = 5;

/// What is known to be bad, as a page shows it.
#[derive(Default)]
pub(super) struct Advised {
    /// The version that is meant.
    pub(super) version: String,
    /// About the release itself.
    pub(super) own: Vec<Told>,
    /// Those because of which it is not served here.
    pub(super) blocked: Vec<Told>,
    /// Those that do not count here, though others like them do.
    pub(super) exempt: Vec<Exempt>,
    /// About what it needs.
    pub(super) needed: Vec<Needed>,
}

/// An advisory.
pub(super) struct Told {
    pub(super) id: String,
    pub(super) page: String,
    pub(super) summary: String,
    pub(super) severity: &'static str,
    pub(super) malware: bool,
    pub(super) certain: bool,
    pub(super) fixed: Option<String>,
    pub(super) aliases: String,
}

/// An advisory in spite of which something is served.
pub(super) struct Exempt {
    pub(super) told: Told,
    /// The operator's words.
    pub(super) reason: String,
    pub(super) until: Option<Day>,
}

/// A dependency of which something is known.
pub(super) struct Needed {
    pub(super) name: String,
    pub(super) page: Option<String>,
    /// How many of its releases here are meant.
    pub(super) extent: String,
    pub(super) advisories: Vec<Told>,
    pub(super) more: usize,
}

impl Told {
    fn of(advisory: &Advisory) -> Self {
        Self {
            page: format!("/api/v1/advisories/{}", links::segment(&advisory.id)),
            id: advisory.id.clone(),
            summary: advisory.summary.clone(),
            severity: advisory.rating.grade.as_str(),
            malware: advisory.malware,
            certain: true,
            fixed: None,
            aliases: shortened(&advisory.aliases.join(", "), 120),
        }
    }
}

impl From<&Concern> for Told {
    fn from(concern: &Concern) -> Self {
        Self {
            certain: concern.certain,
            fixed: concern.fixed.clone(),
            ..Self::of(&concern.advisory)
        }
    }
}

impl Needed {
    fn of(ecosystem: Ecosystem, concern: &DependencyConcern) -> Self {
        let releases = counted(concern.releases as u64, "release", "releases");
        Self {
            name: concern.project.clone(),
            page: (concern.releases > 0).then(|| links::project(ecosystem, &concern.project)),
            extent: match concern.releases {
                0 => "it is not in this registry".to_owned(),
                _ => format!("of {releases} here {} affected", concern.affected),
            },
            advisories: concern
                .advisories
                .iter()
                .take(NAMED)
                .map(Told::of)
                .collect(),
            more: concern.advisories.len().saturating_sub(NAMED),
        }
    }
}

impl Advised {
    /// What is known about a release.
    pub(super) async fn of(
        registry: &Registry,
        ecosystem: Ecosystem,
        key: &str,
        detail: &ReleaseDetail,
    ) -> Result<Self> {
        let own = registry
            .concerns(ecosystem, key, &detail.release.version)
            .await?;
        // What comes from another registry is another package, whatever its name.
        let names: Vec<&str> = detail
            .manifest
            .dependencies
            .iter()
            .enumerate()
            .filter(|(place, _)| {
                let source = detail.sources.get(*place);
                source.is_none_or(|source| source.registry.is_none())
            })
            .map(|(_, dependency)| dependency.name_key.as_str())
            .collect();
        let needed = registry.dependency_concerns(ecosystem, &names).await?;
        let standing = registry
            .advisory_standing(ecosystem, key, &detail.release.version)
            .await?;
        Ok(Self {
            version: detail.release.version.clone(),
            blocked: standing.blocked.iter().map(Told::from).collect(),
            exempt: standing
                .exempt
                .iter()
                .map(|(concern, exemption)| Exempt {
                    told: Told::from(concern),
                    reason: exemption.reason.clone(),
                    until: exemption.until.map(Day),
                })
                .collect(),
            own: own.iter().map(Told::from).collect(),
            needed: needed
                .iter()
                .map(|concern| Needed::of(ecosystem, concern))
                .collect(),
        })
    }
}

#[cfg(test)]
use countersign_registry::model::Time;

#[cfg(test)]
impl Advised {
    /// One of each.
    pub(super) fn sample() -> Self {
        let told = |id: &str, malware: bool, certain: bool| Told {
            id: id.to_owned(),
            page: format!("/api/v1/advisories/{id}"),
            summary: "Reads beyond the end of what it was given".to_owned(),
            severity: if malware { "critical" } else { "unrated" },
            malware,
            certain,
            fixed: (!malware).then(|| "2.1.0".to_owned()),
            aliases: "CVE-2026-0001".to_owned(),
        };
        Self {
            version: "4.2.0".to_owned(),
            blocked: vec![told("MAL-2026-1", true, true)],
            exempt: vec![Exempt {
                told: told("PYSEC-2026-9", false, true),
                reason: "Nothing foreign is ever parsed with it <here>".to_owned(),
                until: Some(Day(Time(1_800_000_000_000_000))),
            }],
            own: vec![
                told("MAL-2026-1", true, true),
                told("PYSEC-2026-2", false, false),
            ],
            needed: vec![Needed {
                name: "left".to_owned(),
                page: Some("/project/pypi/left/".to_owned()),
                extent: "of 3 releases here 2 affected".to_owned(),
                advisories: vec![told("PYSEC-2026-3", false, true)],
                more: 4,
            }],
        }
    }
}

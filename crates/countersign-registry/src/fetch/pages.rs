//! What pages and our own API show: lists, projects, releases, logged events, health.

use countersign_formats::Manifest;
use countersign_formats::cargo::CrateDependency;

use super::*;
use crate::model::DependencySource;

impl Registry {
    /// Projects whose name or summary holds a text.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn search(
        &self,
        text: &str,
        offset: u64,
        limit: u64,
    ) -> Result<Page<ProjectSummary>> {
        let text: String = text.trim().chars().take(200).collect();
        self.inner
            .store
            .search(&self.seen().await?, None, &text, offset, limit.min(100))
            .await
    }

    /// The same among the projects of one ecosystem.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn search_in(
        &self,
        ecosystem: Ecosystem,
        text: &str,
        offset: u64,
        limit: u64,
    ) -> Result<Page<ProjectSummary>> {
        let text: String = text.trim().chars().take(200).collect();
        let seen = self.seen().await?;
        self.inner
            .store
            .search(&seen, Some(ecosystem), &text, offset, limit.min(100))
            .await
    }

    /// Names of the owners of some projects, by their keys: what a list shows beside each.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn owners_of(
        &self,
        ecosystem: Ecosystem,
        keys: &[String],
    ) -> Result<HashMap<String, Vec<String>>> {
        let mut owners: HashMap<String, Vec<String>> = HashMap::new();
        let seen = self.seen().await?;
        for (key, name) in self.inner.store.owners_of(&seen, ecosystem, keys).await? {
            owners.entry(key).or_default().push(name);
        }
        Ok(owners)
    }

    /// The most recently changed projects.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn newest(&self, limit: u64) -> Result<Vec<ProjectSummary>> {
        let seen = self.seen().await?;
        self.inner.store.newest(&seen, limit.min(100)).await
    }

    /// The project that a name means, if readers see it.
    pub(super) async fn visible(
        &self,
        ecosystem: Ecosystem,
        name: &str,
    ) -> Result<(ProjectState, Time)> {
        let key = format(ecosystem).name_key(name)?;
        self.shown_project(ecosystem, key.as_str())
            .await?
            .ok_or_else(|| unknown_project(name))
    }

    /// A project.
    ///
    /// # Errors
    /// `project-unknown`; a refused name.
    pub async fn project(&self, ecosystem: Ecosystem, name: &str) -> Result<ProjectDetail> {
        let (state, created) = self.visible(ecosystem, name).await?;
        let mut releases = self.inner.store.releases_of(&state.id).await?;
        releases.sort_by(|a, b| order(ecosystem, &b.version, &a.version));
        let people = self.inner.store.people_of(&state.id).await?;
        let tags = match ecosystem {
            Ecosystem::Npm => self.dist_tags(&state.name).await?,
            Ecosystem::Pypi | Ecosystem::Cargo => Vec::new(),
        };
        let downloads_30d = self
            .inner
            .store
            .downloads_since(&state.id, self.now().day() - 30)
            .await?;
        Ok(ProjectDetail {
            ecosystem,
            name: state.name,
            key: state.key,
            status: state.status,
            status_reason: state.status_reason,
            created,
            serial: state.serial,
            people,
            releases: releases.iter().map(release_summary).collect(),
            tags,
            downloads_30d,
            private: state.private.is_some(),
        })
    }

    /// A release.
    ///
    /// # Errors
    /// `project-unknown`, `release-unknown`; a refused name or version.
    pub async fn release(
        &self,
        ecosystem: Ecosystem,
        name: &str,
        version: &str,
    ) -> Result<ReleaseDetail> {
        let (state, _) = self.visible(ecosystem, name).await?;
        let wanted = format(ecosystem).version(version)?;
        let releases = self.inner.store.releases_of(&state.id).await?;
        let same = |release: &&ReleaseRow| {
            format(ecosystem)
                .version(&release.version)
                .is_ok_and(|other| other.key() == wanted.key())
        };
        let Some(release) = releases.iter().find(same) else {
            return Err(Error::new(
                Kind::NotFound,
                "release-unknown",
                format!("There is no version {version} of {} here.", state.name),
            )
            .remedy("Look at the project's page for its versions."));
        };
        let files = self.inner.store.files_of_release(&release.id).await?;
        let mut origins = self.inner.store.origins_of_release(&release.id).await?;
        let Some(shown) = files
            .iter()
            .max_by_key(|file| file.filetype == "bdist_wheel")
        else {
            return Err(Error::internal(
                "a release lost its files",
                release.version.clone(),
            ));
        };
        let manifest = self.full_manifest(&shown.id).await?;
        Ok(ReleaseDetail {
            release: release_summary(release),
            sources: self.sources_of(&manifest)?,
            manifest,
            files: files
                .iter()
                .map(|file| file_detail(file, origins.remove(&file.id)))
                .collect(),
        })
    }

    /// Where a crate's dependencies come from, as the index says it.
    fn sources_of(&self, manifest: &Manifest) -> Result<Vec<DependencySource>> {
        let Some(details) = manifest.details.cargo() else {
            return Ok(Vec::new());
        };
        let own = self.inner.settings.own_index()?;
        let source = |dependency: &CrateDependency| DependencySource {
            package: dependency.package.clone(),
            alias: dependency.alias.clone(),
            registry: dependency.source.in_index_of(&own).map(str::to_owned),
        };
        Ok(details.dependencies.iter().map(source).collect())
    }

    /// Served leaves, newest first: of one project or of all, before an index.
    ///
    /// # Errors
    /// `project-unknown`; a refused name.
    pub async fn events(
        &self,
        project: Option<(Ecosystem, &str)>,
        before: Option<u64>,
        limit: u64,
    ) -> Result<Vec<LoggedEvent>> {
        let size = self.fresh_head(0).await?.head.size;
        let before = before.map_or(size, |before| before.min(size));
        let id = match project {
            None => None,
            Some((ecosystem, name)) => {
                let (state, _) = self.visible(ecosystem, name).await?;
                Some(state.id)
            }
        };
        self.inner
            .store
            .logged_events(self.inner.shard, id.as_ref(), before, limit.min(200))
            .await
    }

    /// How the registry is.
    pub async fn health(&self) -> Health {
        let mut problems = Vec::new();
        let mut log_backlog = 0;
        match self.inner.store.backlog().await {
            Ok(waiting) => log_backlog = waiting,
            Err(error) => problems.push(error.message),
        }
        if let Some(problem) = self.inner.beat.problem()
            && !problems.contains(&problem)
        {
            problems.push(problem);
        }
        if let Some(problem) = self.inner.beat.unsigned() {
            problems.push(format!("TUF metadata is not signed: {problem}"));
        }
        if let Err(error) = self
            .inner
            .blobs
            .stat(&tile_path(self.inner.shard, "checkpoint"))
            .await
        {
            problems.push(error.message);
        }
        match self.inner.store.oldest_waiting().await {
            Ok(Some((oldest, _)))
                if self.now().0 - oldest.0
                    > i64::try_from(self.inner.settings.log_wait.as_micros())
                        .unwrap_or(i64::MAX) =>
            {
                problems.push(format!(
                    "The log stands still: an event has waited for it since {}.",
                    oldest.rfc3339()
                ));
            }
            Ok(_) => {}
            Err(error) if problems.contains(&error.text()) => {}
            Err(error) => problems.push(error.text()),
        }
        let served = self.inner.beat.served();
        Health {
            ok: problems.is_empty(),
            problems,
            log_size: served.head.size,
            log_backlog,
            checkpoint_signed: Some(served.head.signed),
            witnesses: self.witness_health(),
        }
    }
}

fn order(ecosystem: Ecosystem, a: &str, b: &str) -> std::cmp::Ordering {
    match (format(ecosystem).version(a), format(ecosystem).version(b)) {
        (Ok(a), Ok(b)) => a.cmp(&b),
        _ => a.cmp(b),
    }
}

fn release_summary(row: &ReleaseRow) -> ReleaseSummary {
    ReleaseSummary {
        version: row.version.clone(),
        created: row.created,
        yanked: row.yanked.clone(),
        deprecated: row.deprecated.clone(),
        prerelease: row.prerelease,
        files: row.files,
    }
}

fn file_detail(row: &FileRow, origin: Option<FileOrigin>) -> FileDetail {
    FileDetail {
        filename: row.filename.clone(),
        purl: row.purl.clone(),
        path: file_url(&row.sha256, &row.filename),
        size: row.size,
        sha256: row.sha256.clone(),
        blake2b_256: row.blake2b_256.clone(),
        md5: row.md5.clone(),
        sha512: row.sha512.clone(),
        filetype: row.filetype.clone(),
        python_tag: row.python_tag.clone(),
        requires_python: row.requires_python.clone(),
        metadata_sha256: (row.filetype == "bdist_wheel").then(|| row.metadata_sha256.clone()),
        uploaded: row.live.unwrap_or(row.staged),
        uploaded_by: row
            .uploader
            .clone()
            .or_else(|| origin.as_ref().map(|origin| origin.label.clone()))
            .unwrap_or_else(|| "operator".to_owned()),
        leaf: row.leaf.unwrap_or(0),
        state: row.state,
        withheld_because: row
            .withheld_reason
            .clone()
            .filter(|reason| !reason.is_empty() && row.state == FileState::Quarantined),
        origin,
    }
}

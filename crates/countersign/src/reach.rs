//! Whether a project's code gets at what is flawed: by the text of its sources and of its packages' sources on this machine. Nothing is run,
//! built or fetched.
//!
//! There are three answers. *Reachable* comes with the places that show it. *Unreachable* is said only where the package is imported nowhere,
//! or its flawed functions are named nowhere and nothing on the way picks names at run time. Everything else is *unknown*, with the reason. None of them
//! hides a flaw: it is a help to say what to look at first.
//!
//! [`source`] reads files, [`packages`] finds them; here it is judged. Paths that imports resolve are told from names that are merely the
//! same; calls within the flawed package are followed by name, so that more is called reachable there than is.

mod javascript;
pub mod packages;
mod python;
mod rust;
pub mod source;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::path::{Path, PathBuf};

use countersign_formats::lock::Origin;
use countersign_formats::{Ecosystem, format};
use serde::Serialize;
use serde_json::{Value, json};

use self::packages::{Budget, Code, File, Places};
use self::source::{Kind, Language, Mention, line_of_word};
use crate::exposure::{Exposure, Found};
use crate::failure::plain;

/// The most places and reasons that are told of one flaw.
const MOST_TOLD: usize = 8;

/// Whether the code gets there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// It is imported or named nowhere, as far as text tells.
    Unreachable,
    /// Nobody can say from the text.
    Unknown,
    /// Places show that it is used.
    Reachable,
}

/// What was looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// The package: the advisory names no functions.
    Import,
    /// The functions that the advisory names.
    Symbol,
}

/// How sure the places are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// By a name that is the same: it may be another's.
    Name,
    /// By a path that imports resolve.
    Path,
}

/// A place in the code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The package whose code it is, as a package URL; none for the project's own.
    pub package: Option<String>,
    /// The file, from the folder of the project or the package.
    pub path: String,
    /// The line, from 1.
    pub line: u32,
    /// What stands there.
    pub what: String,
}

/// What is known about the way to a flaw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reach {
    /// Whether the code gets there.
    pub answer: Answer,
    /// What was looked for.
    pub level: Level,
    /// How sure, where it is reachable.
    pub by: Option<By>,
    /// Whether only tests get there.
    pub tests_only: bool,
    /// The way, from the project on.
    pub places: Vec<Place>,
    /// Why nobody can say.
    pub reasons: Vec<String>,
}

impl Reach {
    /// One line for people.
    #[must_use]
    pub fn told(&self) -> String {
        let tests = if self.tests_only {
            ", by tests only"
        } else {
            ""
        };
        match (self.answer, self.level) {
            (Answer::Reachable, Level::Import) => format!("reachable: it is imported{tests}"),
            (Answer::Reachable, Level::Symbol) => match self.by {
                Some(By::Path) => format!("reachable: the flawed function is used{tests}"),
                _ => format!("reachable: a name of the flawed function is used{tests}"),
            },
            (Answer::Unreachable, Level::Import) => {
                "unreachable: it is imported nowhere".to_owned()
            }
            (Answer::Unreachable, Level::Symbol) => {
                "unreachable: the flawed function is named nowhere".to_owned()
            }
            (Answer::Unknown, _) => match self.reasons.first() {
                Some(reason) => format!("reachable or not, nobody can say: {}", plain(reason)),
                None => "reachable or not, nobody can say".to_owned(),
            },
        }
    }

    /// As `--json` prints it.
    #[must_use]
    pub fn json(&self) -> Value {
        json!(self)
    }
}

impl Place {
    /// As people name it: file and line, and whose file.
    #[must_use]
    pub fn told(&self) -> String {
        let of = match &self.package {
            Some(purl) => format!("{} ", plain(purl)),
            None => String::new(),
        };
        format!(
            "{of}{}:{} {}",
            plain(&self.path),
            self.line,
            plain(&self.what)
        )
    }
}

/// How a package is got at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Grade {
    No,
    Maybe,
    Tests,
    Yes,
}

#[derive(Debug, Clone)]
struct Status {
    grade: Grade,
    places: Vec<Place>,
    reasons: Vec<String>,
}

/// Whose code: the project's, or an entry's.
type Whose = Option<usize>;

struct Survey<'a> {
    exposure: &'a Exposure,
    language: Language,
    places: Places,
    folder: PathBuf,
    budget: Budget,
    code: HashMap<Whose, Option<std::rc::Rc<Code>>>,
    status: Vec<Status>,
}

/// Judges every flaw of a lock file, in their order. `folder` is the project's; `further` are folders with packages beside the usual ones.
#[must_use]
pub fn survey(exposure: &Exposure, folder: &Path, further: &[PathBuf]) -> Vec<Reach> {
    let ecosystem = exposure.lock.kind.ecosystem();
    let folder = match folder {
        here if here == Path::new("") => PathBuf::from("."),
        folder => folder.to_owned(),
    };
    let entries = exposure.lock.entries.iter();
    let names = entries.map(|entry| entry.name_key.as_str()).collect();
    let none = Status {
        grade: Grade::No,
        places: Vec::new(),
        reasons: Vec::new(),
    };
    let mut survey = Survey {
        exposure,
        language: Language::of(ecosystem),
        places: Places::of(ecosystem, &folder, further, &names),
        folder,
        budget: Budget::default(),
        code: HashMap::new(),
        status: vec![none; exposure.lock.entries.len()],
    };
    if !exposure.found.is_empty() {
        survey.spread();
    }
    let each = exposure.found.iter().map(|found| survey.judge(found));
    each.collect()
}

fn told(path: &[String]) -> String {
    path.join(".")
}

/// Where the names of a mention that come after a module begin, if it is of one of these.
fn below<'m>(mention: &'m Mention, modules: &[Vec<String>]) -> Option<&'m [String]> {
    let of = matches!(mention.kind, Kind::Import | Kind::Star | Kind::Path);
    let mut fits = modules
        .iter()
        .filter(|module| of && !module.is_empty() && mention.path.starts_with(module))
        .map(Vec::len);
    let longest = fits.next()?;
    let longest = fits.fold(longest, usize::max);
    mention.path.get(longest..)
}

/// A function that an advisory names.
struct Symbol {
    name: String,
    /// The type or class whose method it is.
    of: Option<String>,
}

impl Symbol {
    fn read(text: &str, language: Language) -> Option<Self> {
        let parts: Vec<&str> = match language {
            Language::Rust => text.split("::").collect(),
            _ => text.split(['.', '#']).collect(),
        };
        let bare = |part: &str| {
            let end = part.find(['<', '(', '!']).unwrap_or(part.len());
            part[..end].trim().to_owned()
        };
        let name = bare(parts.last()?);
        let of = parts.len().checked_sub(2).map(|at| bare(parts[at]));
        let of = of.filter(|of| of.starts_with(char::is_uppercase));
        (!name.is_empty()).then_some(Self { name, of })
    }

    /// Whether names after a module lead to it.
    fn is_in(&self, names: &[String]) -> bool {
        names.iter().enumerate().any(|(at, name)| {
            let owner = at.checked_sub(1).and_then(|before| names.get(before));
            *name == self.name
                && match (&self.of, owner) {
                    (Some(of), Some(owner)) => of == owner,
                    _ => true,
                }
        })
    }
}

impl Survey<'_> {
    fn code(&mut self, whose: Whose) -> Option<std::rc::Rc<Code>> {
        if let Some(code) = self.code.get(&whose) {
            return code.clone();
        }
        let code = match whose {
            None => Some(Code::of_project(
                self.language,
                &self.folder,
                &mut self.budget,
            )),
            Some(at) => {
                let installed = self.places.find(&self.exposure.lock.entries[at]);
                installed
                    .map(|installed| Code::of_package(self.language, installed, &mut self.budget))
            }
        };
        let code = code.map(std::rc::Rc::new);
        self.code.insert(whose, code.clone());
        code
    }

    fn purl(&self, whose: Whose) -> Option<String> {
        whose.map(|at| self.exposure.purl(at))
    }

    fn place(&self, whose: Whose, file: &File, line: u32, what: String) -> Place {
        Place {
            package: self.purl(whose),
            path: file.path.clone(),
            line,
            what,
        }
    }

    /// By what an entry is imported in some code, and whether that is certain.
    fn modules(&self, entry: usize, code: &Code) -> (Vec<Vec<String>>, bool) {
        let entry = &self.exposure.lock.entries[entry];
        let key = entry.name_key.as_str();
        let installed = self.places.find(entry);
        let mut modules = installed.map_or_else(Vec::new, |found| found.modules.clone());
        let certain = installed.is_some() || entry.ecosystem == Ecosystem::Npm;
        if installed.is_none() {
            let guess = match entry.ecosystem {
                Ecosystem::Npm => key.to_owned(),
                _ => key.replace('-', "_"),
            };
            modules.push(vec![guess]);
        }
        let format = format(entry.ecosystem);
        for (name, package) in &code.renamed {
            let same = format.name_key(package);
            if same.is_ok_and(|same| same == entry.name_key) {
                modules.push(vec![name.clone()]);
            }
        }
        (modules, certain)
    }

    /// Goes from the project to what it imports, and on.
    fn spread(&mut self) {
        let entries = &self.exposure.lock.entries;
        let graph = &self.exposure.graph;
        let foreign = |at: &usize| !matches!(entries[*at].origin, Origin::Local(_));
        let flawed: BTreeSet<usize> = self.exposure.found.iter().map(|f| f.entry).collect();
        // Only what leads to something flawed is read.
        let mut wanted = flawed.clone();
        if graph.known {
            let mut asked_by: Vec<Vec<usize>> = vec![Vec::new(); entries.len()];
            for (from, required) in graph.requires.iter().enumerate() {
                for to in required {
                    asked_by[*to].push(from);
                }
            }
            let mut next: Vec<usize> = flawed.into_iter().collect();
            while let Some(at) = next.pop() {
                for parent in &asked_by[at] {
                    if wanted.insert(*parent) {
                        next.push(*parent);
                    }
                }
            }
        } else {
            wanted = (0..entries.len()).collect();
        }
        let wanted: Vec<usize> = wanted.into_iter().filter(foreign).collect();
        let mut queue: VecDeque<usize> = VecDeque::new();
        for to in &wanted {
            let asked = !graph.known || graph.direct.contains(to);
            let edge = self.edge(None, *to, asked);
            if edge.grade > Grade::No {
                self.status[*to] = edge;
                queue.push_back(*to);
            }
        }
        while let Some(from) = queue.pop_front() {
            let targets: Vec<usize> = wanted
                .iter()
                .filter(|to| **to != from && (!graph.known || graph.requires[from].contains(*to)))
                .copied()
                .collect();
            for to in targets {
                // Nothing is gained where it is got at as surely by another way.
                if self.status[to].grade >= self.status[from].grade {
                    continue;
                }
                let edge = self.edge(Some(from), to, graph.known);
                let grade = edge.grade.min(self.status[from].grade);
                if grade <= self.status[to].grade {
                    continue;
                }
                let before = self.status[from].clone();
                let mut reasons = before.reasons;
                reasons.extend(edge.reasons);
                reasons.truncate(MOST_TOLD);
                let mut places = before.places;
                places.extend(edge.places);
                places.truncate(MOST_TOLD);
                self.status[to] = Status {
                    grade,
                    places,
                    reasons,
                };
                queue.push_back(to);
            }
        }
    }

    /// Whether some code imports an entry. `asked` is whether it is said to need it; only then doubts count.
    fn edge(&mut self, from: Whose, to: usize, asked: bool) -> Status {
        let named = self.exposure.named(to);
        let doubt = |reasons: Vec<String>| Status {
            grade: if reasons.is_empty() {
                Grade::No
            } else {
                Grade::Maybe
            },
            places: Vec::new(),
            reasons,
        };
        let Some(code) = self.code(from) else {
            let from = from.map_or_else(String::new, |from| self.exposure.named(from));
            return doubt(vec![format!(
                "{from} asks for {named}, and its sources are not on this machine"
            )]);
        };
        let (modules, certain) = self.modules(to, &code);
        let mut tests = None;
        for file in &code.files {
            let hits = file.source.mentions.iter();
            for hit in hits.filter(|mention| below(mention, &modules).is_some()) {
                let place = self.place(from, file, hit.line, format!("uses {}", told(&hit.path)));
                if !file.test && !hit.test {
                    return Status {
                        grade: Grade::Yes,
                        places: vec![place],
                        reasons: Vec::new(),
                    };
                }
                tests.get_or_insert(place);
            }
        }
        if let Some(place) = tests {
            return Status {
                grade: Grade::Tests,
                places: vec![place],
                reasons: Vec::new(),
            };
        }
        if !asked {
            return doubt(Vec::new());
        }
        let mut reasons = Vec::new();
        let of = self.purl(from);
        let at = |file: &File, line: u32| match &of {
            Some(of) => format!("{of} {}:{line}", file.path),
            None => format!("{}:{line}", file.path),
        };
        for file in &code.files {
            for mention in &file.source.mentions {
                match mention.kind {
                    Kind::AnyModule => reasons.push(format!(
                        "{}: a module is loaded whose name is made at run time",
                        at(file, mention.line)
                    )),
                    Kind::AnyCode => {
                        reasons.push(format!("{}: text is run as code", at(file, mention.line)))
                    }
                    // Rust loads nothing by text.
                    Kind::Text
                        if self.language != Language::Rust && names(&mention.path[0], &modules) =>
                    {
                        reasons.push(format!(
                            "{}: {} stands in a string",
                            at(file, mention.line),
                            mention.path[0]
                        ))
                    }
                    _ => {}
                }
            }
            if let Some(text) = &file.source.text
                && let Some(line) = modules
                    .iter()
                    .find_map(|module| line_of_word(text, module.last()?))
            {
                reasons.push(format!(
                    "{}: it is named in a file that is not understood as a whole",
                    at(file, line)
                ));
            }
        }
        for (word, file) in &code.settings {
            if names(word, &modules) {
                reasons.push(format!("{file}: {word} stands in settings"));
            }
        }
        reasons.extend(code.gaps.iter().cloned());
        if !certain {
            reasons.push(format!(
                "{named} is not on this machine: by what name it is imported is not certain"
            ));
        }
        reasons.truncate(MOST_TOLD);
        doubt(reasons)
    }

    fn judge(&mut self, found: &Found) -> Reach {
        let status = self.status[found.entry].clone();
        let mut reach = Reach {
            answer: match status.grade {
                Grade::No => Answer::Unreachable,
                Grade::Maybe => Answer::Unknown,
                Grade::Tests | Grade::Yes => Answer::Reachable,
            },
            level: Level::Import,
            by: None,
            tests_only: status.grade == Grade::Tests,
            places: status.places,
            reasons: status.reasons,
        };
        // Malware runs when it is installed; it needs no import.
        if found.advisory.malware {
            reach.answer = Answer::Unknown;
            reach.reasons = vec!["malware may run when it is installed".to_owned()];
            return reach;
        }
        if reach.answer != Answer::Reachable {
            return reach;
        }
        reach.by = Some(By::Path);
        let symbols: Vec<Symbol> = found
            .functions
            .iter()
            .filter_map(|text| Symbol::read(text, self.language))
            .collect();
        if symbols.is_empty() {
            return reach;
        }
        let imported = reach.places;
        let each = symbols.iter().map(|symbol| {
            let mut reach = self.symbol(found.entry, symbol, &imported);
            reach.tests_only |= status.grade == Grade::Tests;
            reach
        });
        let judged: Vec<Reach> = each.collect();
        // The surest way there is; unreachable only where all are.
        let best = judged
            .into_iter()
            .max_by_key(|reach| (reach.answer, !reach.tests_only, reach.by));
        best.unwrap_or(Reach {
            answer: Answer::Unknown,
            level: Level::Symbol,
            by: None,
            tests_only: false,
            places: imported,
            reasons: Vec::new(),
        })
    }

    /// Those whose code imports an entry.
    fn importers(&mut self, entry: usize) -> Vec<(Whose, std::rc::Rc<Code>, Vec<Vec<String>>)> {
        let parents = match self.exposure.graph.known {
            true => self.exposure.graph.parents(entry),
            false => (0..self.exposure.lock.entries.len()).collect(),
        };
        let mut all = vec![None];
        all.extend(
            parents
                .into_iter()
                .filter(|at| *at != entry && self.status[*at].grade >= Grade::Tests)
                .map(Some),
        );
        let mut importers = Vec::new();
        for whose in all {
            let Some(code) = self.code(whose) else {
                continue;
            };
            let (modules, _) = self.modules(entry, &code);
            let imports = code.files.iter().any(|file| {
                let mut mentions = file.source.mentions.iter();
                mentions.any(|mention| below(mention, &modules).is_some())
            });
            if imports {
                importers.push((whose, code, modules));
            }
        }
        importers
    }

    fn symbol(&mut self, entry: usize, symbol: &Symbol, imported: &[Place]) -> Reach {
        let answer = |answer, by, tests_only, place: Option<Place>, reasons| {
            let mut places = imported.to_vec();
            places.extend(place);
            Reach {
                answer,
                level: Level::Symbol,
                by,
                tests_only,
                places,
                reasons,
            }
        };
        let importers = self.importers(entry);
        let mut best: Option<(bool, By, Place)> = None;
        let mut doubts: Vec<String> = Vec::new();
        // Names by which the importers may get into the package, with whether an import resolves them.
        let mut called: BTreeMap<String, Place> = BTreeMap::new();
        for (whose, code, modules) in &importers {
            let starred = code.files.iter().any(|file| {
                file.source
                    .mentions
                    .iter()
                    .any(|mention| mention.kind == Kind::Star && below(mention, modules).is_some())
            });
            for file in &code.files {
                let imports = file
                    .source
                    .mentions
                    .iter()
                    .any(|mention| below(mention, modules).is_some());
                for mention in &file.source.mentions {
                    let test = file.test || mention.test;
                    let place = |what: String| self.place(*whose, file, mention.line, what);
                    let names: &[String] = match below(mention, modules) {
                        Some(names) => {
                            if symbol.is_in(names) {
                                let place = place(format!("uses {}", told(&mention.path)));
                                better(&mut best, (!test, By::Path, place));
                            }
                            names
                        }
                        None => match mention.kind {
                            Kind::Member => &mention.path,
                            Kind::Plain if starred => &mention.path,
                            // Handed on by a module of its own.
                            Kind::Import | Kind::Path
                                if mention.path.first().is_some_and(|f| code.own.contains(f)) =>
                            {
                                &mention.path[1..]
                            }
                            Kind::AnyCode => {
                                doubts.push(place("runs text as code".to_owned()).told());
                                continue;
                            }
                            Kind::AnyModule => {
                                doubts.push(
                                    place("loads a module by a name made at run time".to_owned())
                                        .told(),
                                );
                                continue;
                            }
                            Kind::AnyMember => {
                                let of = modules.iter().any(|m| mention.path.starts_with(m));
                                if of || (imports && symbol.of.is_some()) {
                                    doubts.push(
                                        place(
                                            "takes a member by a name made at run time".to_owned(),
                                        )
                                        .told(),
                                    );
                                }
                                continue;
                            }
                            Kind::Text => {
                                let text = &mention.path[0];
                                let last = text.rsplit(['.', ':', '#']).next().unwrap_or_default();
                                if last == symbol.name && self.language != Language::Rust {
                                    doubts.push(place(format!("has {text} in a string")).told());
                                }
                                continue;
                            }
                            _ => continue,
                        },
                    };
                    for name in names {
                        if *name == symbol.name && below(mention, modules).is_none() {
                            let place = place(format!("has the name {name}"));
                            better(&mut best, (!test, By::Name, place));
                        }
                        if !called.contains_key(name) {
                            called.insert(name.clone(), place(format!("calls {name}")));
                        }
                    }
                }
                if let Some(text) = &file.source.text
                    && let Some(line) = line_of_word(text, &symbol.name)
                {
                    let place = self.place(
                        *whose,
                        file,
                        line,
                        "is not understood as a whole, and has the name".to_owned(),
                    );
                    doubts.push(place.told());
                }
            }
            doubts.extend(code.gaps.iter().cloned());
        }
        if let Some((real, by, place)) = best {
            return answer(Answer::Reachable, Some(by), !real, Some(place), Vec::new());
        }
        let within = self.within(entry, symbol, &called);
        match within {
            Within::Called(first, place) => {
                let mut reach = answer(
                    Answer::Reachable,
                    Some(By::Name),
                    false,
                    Some(first),
                    Vec::new(),
                );
                reach.places.push(place);
                return reach;
            }
            Within::Doubt(reason) => doubts.push(reason),
            Within::Nowhere => {}
        }
        doubts.truncate(MOST_TOLD);
        let verdict = match doubts.is_empty() {
            true => Answer::Unreachable,
            false => Answer::Unknown,
        };
        answer(verdict, None, false, None, doubts)
    }

    /// Whether the package's own code leads from names that are called to the flawed one.
    fn within(
        &mut self,
        entry: usize,
        symbol: &Symbol,
        called: &BTreeMap<String, Place>,
    ) -> Within {
        let named = self.exposure.named(entry);
        let Some(code) = self.code(Some(entry)) else {
            return Within::Doubt(format!(
                "the sources of {named} are not on this machine: what it calls itself is not known"
            ));
        };
        if let Some(gap) = code.gaps.first() {
            return Within::Doubt(format!("{named}: {gap}"));
        }
        // Items by name, and what each of them names.
        let mut items: Vec<(&File, &source::Item)> = Vec::new();
        let mut by_name: HashMap<&str, Vec<usize>> = HashMap::new();
        let mut first_of_file = Vec::new();
        for file in &code.files {
            first_of_file.push(items.len());
            for item in &file.source.items {
                by_name.entry(&item.name).or_default().push(items.len());
                items.push((file, item));
            }
        }
        let is_symbol = |at: usize| items[at].1.name == symbol.name;
        if !(0..items.len()).any(is_symbol) {
            return Within::Doubt(format!(
                "no function of the name {} is found in the sources of {named}",
                symbol.name
            ));
        }
        let mut mentions: Vec<Vec<&str>> = vec![Vec::new(); items.len()];
        for (file, first) in code.files.iter().zip(&first_of_file) {
            for mention in &file.source.mentions {
                if mention.kind == Kind::Text {
                    continue;
                }
                let names = mention.path.iter().map(String::as_str);
                if let Some(list) = mentions.get_mut(first + mention.item) {
                    list.extend(names);
                }
            }
        }
        // From what is called by name first: that has a place outside to show.
        let mut from: Vec<Option<usize>> = vec![None; items.len()];
        let mut seen = vec![false; items.len()];
        let mut queue = VecDeque::new();
        let begin = |at: usize, seen: &mut Vec<bool>, queue: &mut VecDeque<usize>| {
            if !std::mem::replace(&mut seen[at], true) {
                queue.push_back(at);
            }
        };
        let starts: Vec<usize> = called
            .keys()
            .filter_map(|name| by_name.get(name.as_str()))
            .flatten()
            .copied()
            .collect();
        for at in starts {
            begin(at, &mut seen, &mut queue);
        }
        let mut implicit = false;
        loop {
            while let Some(at) = queue.pop_front() {
                if is_symbol(at) {
                    let (file, item) = items[at];
                    let place = self.place(
                        Some(entry),
                        file,
                        item.line,
                        format!("is {}, the flawed function", symbol.name),
                    );
                    let mut origin = at;
                    while let Some(before) = from[origin] {
                        origin = before;
                    }
                    return match called.get(&items[origin].1.name) {
                        Some(first) if !implicit => Within::Called(first.clone(), place),
                        _ => Within::Doubt(format!(
                            "{named} may run it without being asked by name: {}",
                            place.told()
                        )),
                    };
                }
                for name in &mentions[at] {
                    for to in by_name.get(name).into_iter().flatten() {
                        if !seen[*to] {
                            seen[*to] = true;
                            from[*to] = Some(at);
                            queue.push_back(*to);
                        }
                    }
                }
            }
            if implicit {
                break;
            }
            // Then from what runs without being named.
            implicit = true;
            for (at, (_, item)) in items.iter().enumerate() {
                if item.implicit {
                    begin(at, &mut seen, &mut queue);
                }
            }
        }
        // Names that are picked at run time within the package.
        for file in &code.files {
            let any = file
                .source
                .mentions
                .iter()
                .find(|m| matches!(m.kind, Kind::AnyCode | Kind::AnyMember));
            if let Some(any) = any {
                let place = self.place(
                    Some(entry),
                    file,
                    any.line,
                    "picks a name at run time".to_owned(),
                );
                return Within::Doubt(place.told());
            }
            if file.source.text.is_some() {
                return Within::Doubt(format!(
                    "{named}: {} is not understood as a whole",
                    file.path
                ));
            }
        }
        Within::Nowhere
    }
}

/// What a package's own code says about the way to one of its functions.
enum Within {
    /// From a name that is called outside, to the function.
    Called(Place, Place),
    /// Nobody can say.
    Doubt(String),
    /// No way is seen.
    Nowhere,
}

fn better(best: &mut Option<(bool, By, Place)>, new: (bool, By, Place)) {
    if best
        .as_ref()
        .is_none_or(|old| (new.0, new.1) > (old.0, old.1))
    {
        *best = Some(new);
    }
}

/// Whether a literal names one of these modules, or something in it.
fn names(literal: &str, modules: &[Vec<String>]) -> bool {
    modules.iter().any(|module| {
        let name = module.join(".");
        literal
            .strip_prefix(name.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '/', ':']))
    })
}

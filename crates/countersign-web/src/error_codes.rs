//! Every error code, for the page `/help/errors` that every error links to.

/// One error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorCode {
    /// Stable, kebab-case; also the anchor on the page.
    pub code: &'static str,
    /// The HTTP status where it is not the one of the error's kind.
    pub status: Option<u16>,
    /// In a few words.
    pub title: &'static str,
    /// What it means in general; the error itself says with which value.
    pub explanation: &'static str,
    /// What to do.
    pub way_out: &'static str,
}

// An entry: code, status where it is not the one of the kind, title, explanation, way out.
macro_rules! codes {
    ($($code:literal $([$status:literal])? $title:literal $explanation:literal $way_out:expr;)*) => {
        &[$(ErrorCode {
            code: $code,
            status: codes!(@status $($status)?),
            title: $title,
            explanation: $explanation,
            way_out: $way_out,
        },)*]
    };
    (@status $status:literal) => { Some($status) };
    (@status) => { None };
}

/// The entry of a code.
pub(crate) fn find(wanted: &str) -> Option<&'static ErrorCode> {
    ERROR_CODES
        .binary_search_by(|entry| entry.code.cmp(wanted))
        .ok()
        .and_then(|place| ERROR_CODES.get(place))
}

/// Whether a code is explained on the page about build provenance, beside what it is about.
pub(crate) fn is_about_provenance(code: &str) -> bool {
    let starts = [
        "attestation-",
        "attestations-",
        "change-",
        "trust-root-",
        "trusted-identity-",
    ];
    starts.iter().any(|start| code.starts_with(start))
        || matches!(
            code,
            "provenance-none" | "source-changed" | "trust-lost" | "trust-too-low"
        )
}

/// Where a code is explained: the path of the page, with the place on it.
pub(crate) fn explained_at(code: &str) -> String {
    let page = if is_about_provenance(code) {
        "provenance"
    } else {
        "errors"
    };
    format!("/help/{page}#{code}")
}

const REBUILD: &str = "Rebuild the file with a current build tool; do not edit it afterwards.";
const ASK_OPERATOR: &str =
    "Nothing is wrong with your request. Tell the operator of this registry.";
const RETRY: &str =
    "Send the identical request again in a moment; it is safe, and nothing was half done.";

/// All codes, in alphabetical order.
pub const ERROR_CODES: &[ErrorCode] = codes! {
    "account-disabled" "Account disabled"
        "The account that the token belongs to was disabled."
        "Ask the operator of this registry.";
    "account-in-use" "Account in use"
        "The account can be signed in to already, so no enrolment link is given for it."
        "Its holder gets back in by recovery.";
    "account-needed" "Only a person does this"
        "What was asked is for accounts: it is not for workflows, nor for the operator at the command line."
        "Sign in as the person whose business it is.";
    "address-main" "Main address"
        "The main address of an account can not be removed."
        "Make another address the main one first.";
    "address-needed" "Address not proved"
        "The operator demands that the main address of an account is proved before it publishes."
        "Open the link that was mailed to it; the account's page sends another one.";
    "address-taken" "Address taken"
        "Another account has proved this address."
        "Sign in with that account, or use another address.";
    "address-unknown" "No such address"
        "The account has no such address."
        "Open the list of addresses again.";
    "address-unproved" "Address not proved"
        "Only an address that was proved can be the main one."
        "Open the link that was mailed to it, or ask for another one.";
    "addresses-many" "Too many addresses"
        "An account may have a few addresses, those that wait for their proof among them."
        "Remove one first.";
    "advisories-feed" "Name of a feed"
        "A feed of advisories can not have this name."
        "Take a short name; `own` is that of what this registry issues itself.";
    "advisories-refused" "Feed refused"
        "The newest files of a configured feed of advisories are not taken; what was imported before stays."
        "Fetch the feed again; if it is meant, import it once with --accept-shrinkage.";
    "advisories-shrank" "Feed lost much"
        "A feed of advisories has far fewer records than before, so the former ones stay."
        "Fetch it again; if it is meant, import with --accept-shrinkage.";
    "advisories-unreadable" "Advisories unreadable"
        "The file or folder to import advisories from can not be read, or holds none."
        "Give a zip of OSV records, a JSON document, or a folder of such.";
    "advisory-malformed" "Advisory malformed"
        "An advisory can not be issued as it was given."
        "Say in one line what is wrong, and the rest in the details.";
    "advisory-not-malware" "Not about malware"
        "Those who downloaded something are warned of advisories about malware alone, as long as they hold."
        "Name an advisory about malware; of flaws the clients' own audits tell.";
    "advisory-unknown" "No such advisory"
        "There is no advisory of this identifier here."
        "Check how it is spelt, or look at the database that issued it.";
    "approval-act" "No such act for an approval"
        "Only some acts take an approval; the table of permissions names them."
        "Name one of them.";
    "approval-needed" "An approval is needed"
        "This takes the consent of a passkey to this very act on this very thing, given within the last two minutes and not used yet."
        "Ask for an approval, answer it at the page of approvals, and try again at once. Programs send the header Countersign-Approval: ask, and then the id that they are told.";
    "approval-other" "The approval is for something else"
        "An approval is good for exactly the request that it was asked for, made with the token that asked."
        "Repeat that request unchanged, or ask for an approval of this one.";
    "approval-over" "The request is over"
        "The request for an approval was answered already, or nobody answered it in time."
        "Ask again.";
    "approval-subject" "What is to be approved is unclear"
        "The digest of what is to be approved is not written as a SHA-256."
        "Give 64 lower-case hexadecimal digits.";
    "approval-unknown" "No such request"
        "There is no request for an approval of this id or code among those of the account."
        "Look at the page of approvals; requests end after ten minutes.";
    "approval-waiting" "Not answered yet"
        "The request for an approval waits for its person."
        "Answer it at the page of approvals, then repeat the request.";
    "archive-corrupt" "Archive damaged"
        "The compressed data of the archive can not be read."
        REBUILD;
    "archive-data-descriptor" "Zip streaming record wrong"
        "A member of the zip states its size after its data, and the statement is missing or wrong."
        REBUILD;
    "archive-directory-too-large" "Archive directory too large"
        "The directory of the archive is larger than this registry reads."
        "Put fewer or shorter-named files into it.";
    "archive-duplicate-member" "Two members of one name"
        "The archive holds two members of the same name; which one counts would depend on the reader."
        "Rebuild the file so that each path occurs once.";
    "archive-gzip-header" "Unusual gzip header"
        "The gzip header uses parts that tools read differently."
        REBUILD;
    "archive-header-mismatch" "Archive contradicts itself"
        "Two places in the archive that describe the same member differ."
        REBUILD;
    "archive-layout" "Archive laid out unusually"
        "There are gaps, overlaps or extra data between the members of the archive."
        REBUILD;
    "archive-member-name" "Member name not allowed"
        "A member's path is absolute, leads upwards, or holds characters that some systems read differently."
        "Use plain relative paths with forward slashes.";
    "archive-member-too-large" "Member too large"
        "A member that the registry has to read whole is too large."
        "Make it smaller; the message names it.";
    "archive-member-type" "Member type not allowed"
        "The archive holds a link that leads outside, a device, or another member that is no plain file or folder."
        "Leave it out, or put a copy of the file in its place.";
    "archive-name-collision" "Names that fall together"
        "Two member names become the same on some file systems (case, or a file where a folder is)."
        "Rename one of them.";
    "archive-not-gzip" "Not gzip"
        "A source distribution must be a gzip-compressed tar."
        REBUILD;
    "archive-not-zip" "Not a zip"
        "A wheel must be a zip archive."
        REBUILD;
    "archive-polyglot" "Two formats in one file"
        "The file can be read as two kinds of archive; tools would see different contents."
        REBUILD;
    "archive-ratio" "Compression too strong"
        "The archive unpacks to so many times its size that it looks like a bomb."
        "Leave out large files of repeated data, or generate them on first use.";
    "archive-too-large" "Archive unpacks too large"
        "The contents of the archive are larger than this registry allows."
        "Make the package smaller, or ask the operator about the limit.";
    "archive-too-many-members" "Too many members"
        "The archive holds more members than this registry allows."
        "Put fewer files into it.";
    "archive-top-directory" "Top folder wrong"
        "All members of a source distribution must lie in one top folder."
        REBUILD;
    "archive-trailing-data" "Data after the end"
        "There is data after the end of the archive."
        REBUILD;
    "archive-truncated" "Archive cut short"
        "The archive ends too early."
        "Build it again, and check that it was copied whole.";
    "artifact-unreadable" [503] "Upload unreadable here"
        "The registry could not read back what it had received."
        RETRY;
    "assessment-missing" "No assessment"
        "The operator of this registry has published no assessment against the principles for secure registries."
        "Operators store one with `countersignd assess --store`; anyone can make one of what can be seen from outside with `countersign assess`.";
    "attestation-certificate-refused" "Certificate refused"
        "The certificate of an attestation does not lead to an authority that this registry trusts, or was not valid when it was signed."
        "Sign again with an instance of Sigstore that this registry trusts.";
    "attestation-checkpoint-invalid" "Head of the log refused"
        "The signed head of the transparency log in an attestation is not by a log that this registry trusts, or does not fit the proof."
        "Sign again with an instance of Sigstore that this registry trusts.";
    "attestation-contradicts-certificate" "Provenance contradicts the certificate"
        "What the build wrote into its provenance (repository, commit, ref, build file or run) is not what the certificate says."
        "Let the build's own generator write the provenance, and do not change it.";
    "attestation-duplicate" "Two attestations of one type"
        "A file can have one attestation of each predicate type."
        "Send one of each.";
    "attestation-exists" "Another attestation is there"
        "The file has another attestation of this type already; attestations never change."
        "Skip existing files, or publish a new version.";
    "attestation-identity-mismatch" "Signed by somebody else"
        "The certificate names another workflow than the trusted publisher whose token uploads, or than the identities that the project trusts. The error lists what differs."
        "Sign and upload in the same run of the registered workflow.";
    "attestation-key-missing" "Key of attestations missing"
        "The key that this registry signs its own attestations with can not be read."
        "The operator puts it back, or makes another: countersignd admin key rotate attestations.";
    "attestation-key-raced" "Key made twice"
        "Two servers made a key for attestations at the same moment."
        "Copy the folder of keys to every server and try again.";
    "attestation-key-wrong" "Wrong key of attestations"
        "The key in the folder of keys is not the one that this registry signs attestations with."
        "The operator puts the right one back; every server of one registry has the same.";
    "attestation-log-entry-mismatch" "Log entry about something else"
        "The entry of the transparency log is not about this signature."
        "Sign again.";
    "attestation-malformed" "Attestation can not be read"
        "It is not an attestation object of PEP 740 in its one canonical form, it is too large, or there are too many."
        "Send attestations as pypi-attestations, uv and the publishing action make them.";
    "attestation-not-logged" "Not in the log"
        "The proof that the signature is in the transparency log does not hold."
        "Sign again with an instance of Sigstore that this registry trusts.";
    "attestation-not-yours" "Attestation from another source"
        "A file is attested by the source that it came from, and by no other."
        "Publish a new version from the right source.";
    "attestation-predicate-refused" "Statement of another kind"
        "The statement has not the form of its type, or is of a type that only registries make."
        "Send publish attestations and SLSA provenance.";
    "attestation-repository" "Built from another repository"
        "The repository that package.json names is not the one that the provenance proves."
        "Let package.json name the repository that the package is built from.";
    "attestation-sct-invalid" "Certificate not logged"
        "The certificate has no valid promise of a certificate transparency log that this registry trusts."
        "Sign again with an instance of Sigstore that this registry trusts.";
    "attestation-signature-invalid" "Signature does not hold"
        "The signature is not the certificate's over this statement."
        "Sign again.";
    "attestation-statement-malformed" "Statement can not be read"
        "What was signed is no in-toto statement."
        "Send attestations as pypi-attestations, uv and the publishing action make them.";
    "attestation-subject-mismatch" "About another file"
        "The statement is about a file of another name, or about other bytes, or about several files."
        "Sign the very files that you upload, and upload each with its own attestation.";
    "attestation-time-unproven" "Time not proven"
        "Nothing in the attestation proves when it was signed."
        "Sign again with an instance of Sigstore that this registry trusts.";
    "attestation-unknown" "No such attestation"
        "No attestation with this SHA-256 belongs to a file that is served here."
        "Ask for the file's attestations by its package URL or its own digest.";
    "attestations-not-taken" "Attestations not taken"
        "Attestations come from trusted publishers; with an API token only those of identities that the project names are taken."
        "Publish from a trusted publisher, or let an owner name the identity in the project's provenance settings.";
    "attestations-too-many" "Too many attestations"
        "A file has at most two: one that it was published, one how it was built."
        "Leave the others out.";
    "backup-damaged" "Backup damaged"
        "The backup can not be used as it is."
        "Take another copy of it, or an older one. Nothing was restored.";
    "backup-exists" "Backup exists"
        "There is a file of this name already; a backup is never overwritten."
        "Give another file name.";
    "backup-unreadable" "Backup unreadable"
        "The backup can not be opened."
        "Give the file that `countersignd backup` wrote.";
    "backup-unwritten" "Backup not written"
        "The backup can not be written."
        "Give a file name in a folder that may be written to and has room.";
    "backup-version" "Backup of another version"
        "The backup was written by a version that this one does not read."
        "Restore it with that version, then bring it up to date.";
    "bad-digest" "No SHA-256"
        "A list of digests has one SHA-256 a line, in lower-case hex, and after a blank what it is."
        "Correct the line, and import the list again; nothing was kept.";
    "blob-damaged" "Stored file damaged"
        "The stored bytes are not those that were published; they are not served."
        ASK_OPERATOR;
    "blob-missing" "Stored file missing"
        "The stored bytes are missing; the operator must restore them."
        ASK_OPERATOR;
    "blobs-unreachable" "File store unreachable"
        "The registry can not reach the place where it keeps files."
        RETRY;
    "blobs-url" "File store address wrong"
        "The configured address of the file store can not be used."
        "Operators: correct `blobs` in the configuration; the message says what is wrong.";
    "body-too-slow" [408] "Request too slow"
        "The body of the request arrived more slowly than this registry waits for."
        "Nothing was stored. Try again over a better connection.";
    "breach-file" "List not importable"
        "A list of breached passwords could not be read or written."
        "Look at both paths and at the free space.";
    "breach-list" "Not such a list"
        "A list of breached passwords has one SHA-1 in hexadecimal a line, in order."
        "Give the list as the service offers it.";
    "case-unknown" "No such case"
        "What is withheld by the operator or by a rule is a case; it ends when it is served again or deleted."
        "Look at the list of cases of the project.";
    "ceremony-unknown" "Question over"
        "A passkey answers one question, once, within five minutes, in the session that asked."
        "Begin again.";
    "change-exists" "Open already"
        "The same exception or move is open already."
        "Close it first to open it anew.";
    "change-invalid" "Not possible"
        "An exception or a move can not be opened like this; the error says why."
        "Correct it and ask again.";
    "change-open" "Holds already"
        "The exception or move holds already; there is nothing to confirm."
        "Publish, or close it.";
    "change-unknown" "No such exception or move"
        "It does not exist, is closed, or is over."
        "Look at the project's provenance settings.";
    "checkpoint-wrong" "Checkpoint not of this log"
        "A checkpoint does not belong to the log, or its signature does not hold."
        ASK_OPERATOR;
    "classifier-unknown" "Classifier unknown"
        "A classifier in the metadata is not on the list of known ones."
        "Correct it, or use one that begins with \"Private :: \".";
    "code-wrong" "Wrong code"
        "The code is wrong, too old, or was used before."
        "Wait for the next code; if it stays wrong, set the clock of your device.";
    "completeness-long" "Too many leaves for one answer"
        "The project has so many leaves that one text of completeness can not hold them."
        "Ask for those after what is known, or read the log itself.";
    "content-encoding" [415] "Encoding not understood"
        "The request's body is packed in a way that is not understood at this address."
        "Send it as it is; questions about vulnerabilities may be packed with gzip.";
    "crate-filename" "Not the name of a crate"
        "A crate's file is named NAME-VERSION.crate, exactly as its Cargo.toml has both."
        "Make it with `cargo package`, and do not rename it.";
    "crate-name" "Name or version differs"
        "The Cargo.toml in the archive, its folder and the file name do not say the same name and version."
        "Make the crate with `cargo package`, and do not rename it.";
    "crate-private" "Not to be published"
        "The Cargo.toml says publish = false: its author meant the crate to stay where it is."
        "Remove the line if the crate is meant to be published.";
    "creation-closed" "New projects not open"
        "Only the operator makes projects here."
        "Ask the operator to make it and to give you a role.";
    "creation-needs-account" "New projects need a person"
        "Only an account can make a project by publishing to a free name."
        "Publish the first release with a person's token.";
    "credential-ended" "The token ended meanwhile"
        "The token was good when the request began, and was revoked or expired before it was carried out."
        "Nothing was changed. Make a new token, or exchange the workflow's identity token again, and repeat the request.";
    "credentials-missing" "No token sent"
        "This needs a token, and the request carried none."
        "Send an API token as the password (user name __token__), or as \"Authorization: Bearer TOKEN\".";
    "cross-site" "Sent by another site"
        "A browser sent a request that changes something, and a page of another site made it do so."
        "Send it from a program, or from this registry's own pages.";
    "database-newer" "Database of a newer version"
        "The database was last used by a newer version of this program."
        "Run that version, or restore the backup from before it.";
    "database-unreachable" "Database unreachable"
        "The registry can not reach its database."
        RETRY;
    "database-url" "Database address wrong"
        "The configured address of the database can not be used."
        "Operators: correct `database` in the configuration; the message says what is wrong.";
    "deletion-closed" "Deleting not open"
        "Only the operator of this registry deletes, or the time for it is over."
        "Yank it instead, or ask the operator.";
    "deletion-depended-on" "Others depend on it"
        "Other projects here need what is to be deleted, so its owners do not delete it."
        "Yank or deprecate it, or ask the operator. /policies/deletion says what holds here.";
    "deletion-too-late" "Too late to delete"
        "Owners may delete for a limited time after publishing, which is over."
        "Yank it instead, or ask the operator.";
    "dependencies-too-many" "Too many dependencies"
        "The crate names more dependencies than this registry reads."
        "Part the crate into several.";
    "dependency-artifact" "Artifact dependency"
        "A dependency asks for a built program, which no stable cargo can do."
        "Depend on the library, or build the program in a build script.";
    "dependency-feature" "Impossible feature"
        "A dependency is asked for a feature whose name no feature can have."
        "Correct the name in Cargo.toml.";
    "dependency-inherited" "Left to a workspace"
        "A dependency says workspace = true, which means nothing outside the workspace."
        "Make the crate with `cargo package`, which writes down what the workspace says.";
    "dependency-invalid" "Dependency not understood"
        "A dependency in the Cargo.toml is not as cargo reads it."
        "Try `cargo package` on the crate; it says what is wrong.";
    "dependency-registry" "Address of a registry"
        "A dependency names its registry by something that is no address of an index: a file, a word, or an address with a password."
        "Write the address of the index as clients configure it: sparse+https://HOST/PATH/.";
    "dependency-registry-name" "Registry by name"
        "A dependency names its registry by a word of the packager's own configuration, so that nobody else knows which one is meant."
        "Make the crate with `cargo package`, which writes down the address.";
    "dependency-requirement" "Version requirement"
        "A dependency's version requirement is not one that cargo reads."
        "Write a requirement such as \"1.2\" or \">=1.2, <3\".";
    "dependency-target" "Platform not understood"
        "A dependency is for a platform that cargo cannot read, and cargo would skip the whole version."
        "Write a target triple or cfg(…).";
    "dependency-two-sources" "One name, two registries"
        "One name stands for crates of two registries, which cargo refuses to build."
        "Give one of them another name, with package = in Cargo.toml.";
    "dependency-wildcard" "Any version will do"
        "A dependency takes any version, also one that breaks or harms the crate."
        "Write which versions will do, such as \"1.2\".";
    "digest-invalid" "No digest"
        "A SHA-256 is written as 64 hexadecimal digits."
        "Copy it from the file's page, or let sha256sum print it.";
    "digest-mismatch" "Digest differs"
        "A digest sent with the file differs from that of the bytes that arrived."
        "Upload again; if it stays, the file changes while your client reads it.";
    "disk-full" "No space"
        "The registry has no space left for this."
        RETRY;
    "document-invalid" "Index document invalid"
        "An index document can not be read."
        "Fetch it again; if it stays, tell the operator of the registry it came from.";
    "document-too-large" "Index document too large"
        "An index document is larger than is read."
        "Raise the limit, if you trust its source.";
    "downloaders-not-kept" "Downloads are not kept by person"
        "This registry does not keep who downloads what, so nobody can be warned."
        "Set advisories.keep_downloaders in the configuration; what was downloaded before is not known.";
    "ecosystem-unknown" [404] "Ecosystem unknown"
        "This registry does not serve that ecosystem."
        "Use one of those that the message names.";
    "email-address" "E-mail address wrong"
        "The text is no e-mail address."
        "Correct it.";
    "environment-missing" "Environment missing"
        "The project takes files from jobs in one environment only, and the job ran in another one or in none."
        "Set that environment on the job which publishes; an owner of the project can change which one it is.";
    "erase-confirm" "Name not confirmed"
        "To erase an account its own name is typed, and this was another one."
        "Type the account's own name.";
    "exemption-unknown" "No such exemption"
        "There is no exemption of this id that still holds."
        "`countersignd advisories exemptions` lists them.";
    "exemption-until" "Exemption that is over"
        "An exemption from an advisory was to end at a time that is already over."
        "Give a time that is still to come, or none.";
    "factor-demanded" "Factor needed"
        "The account needs what would be taken away: because of its roles, of a critical project, or as an operator's."
        "Add another one first.";
    "factor-label" "Not a name for it"
        "Passkeys and keys have names of 1 to 64 characters on one line."
        "Choose a name by which you will know it again.";
    "factor-last" "Last way in"
        "Without it nobody could sign in to the account any more."
        "Add a passkey first.";
    "factor-locked" "Factor locked for a time"
        "After ten wrong codes in a row a factor is locked for an hour; the account is not."
        "Use a passkey, a recovery code, or a browser that you used before.";
    "factor-needed" "Account needs a factor"
        "Who changes projects needs a second factor, and for critical ones a passkey or security key; the time to add one is over."
        "Sign in in a browser and add a passkey on the security page; then the same token works again.";
    "factor-policy-down" "Rules go upward"
        "The rule on which factors accounts need is lowered only with a reason, which the log shows."
        "Give a reason, or leave it.";
    "factor-unknown" "No such factor"
        "The account has no such passkey, key or app for codes."
        "Open the security page again.";
    "factors-many" "Too many keys"
        "An account has twenty passkeys and security keys at most."
        "Remove one that you no longer use.";
    "feature-name" "Name of a feature"
        "A feature has a name that cargo or this registry does not take."
        "Use ASCII letters, digits and _ - + . for names of features.";
    "feature-value" "Feature of nothing"
        "A feature includes something that is neither a feature nor a dependency, or an optional dependency is in no feature. Cargo could not use the version."
        "Correct the [features] of Cargo.toml; `cargo package` says which one is wrong.";
    "features-too-many" "Too many features"
        "The crate has more features than this registry reads."
        "Part the crate into several.";
    "file-exists" "File already exists"
        "A file of this name was published before with other content. Files never change here."
        "Publish a new version, or tell your client to skip existing files.";
    "file-held" [403] "File waits for a review"
        "The file is in the log, and a person looks at it, or the scanner does, before it is served."
        "Choose another version, or ask again later.";
    "file-pending" "File not yet in the log"
        "The file was accepted and waits for the log; nothing is served that is not in it."
        "Ask again in a moment.";
    "file-quarantined" [403] "File in quarantine"
        "The file is withheld because something about it may be harmful. What was published stays provable by its log entry."
        "Choose another version, and read the reason given.";
    "file-removed" [410] "File deleted"
        "The file was deleted. Its name and digest stay reserved."
        "Choose another version.";
    "file-size" "Size differs"
        "The file has another length than was said."
        "Upload again.";
    "file-too-large" [413] "File too large"
        "The file is larger than this registry takes."
        "Make it smaller, or ask the operator about the limit.";
    "file-unknown" "No such file"
        "There is no such file here."
        "Look the file up on its project's page.";
    "filename-characters" "File name not allowed"
        "The file name holds characters that are not allowed."
        REBUILD;
    "filename-length" "File name too long"
        "The file name is too long."
        "Shorten the name, the version or the tags.";
    "filename-platform" "Platform tag not allowed"
        "The wheel's platform tag says too little about where it runs."
        "Build a manylinux or musllinux wheel (auditwheel or maturin do it), or publish the source.";
    "filename-sdist" "Source file name wrong"
        "The name of a source distribution must be NAME-VERSION.tar.gz."
        REBUILD;
    "filename-type" "File type not taken"
        "Only wheels (.whl) and source distributions (.tar.gz) are taken."
        "Build one of these.";
    "filename-wheel" "Wheel file name wrong"
        "The name of a wheel must be NAME-VERSION(-BUILD)-PYTHON-ABI-PLATFORM.whl."
        REBUILD;
    "form-action" "Action not available"
        "The upload form asks for something else than to publish a file."
        "Publish with uv, twine or another current client (:action=file_upload).";
    "form-digest" "Digest missing or malformed"
        "The upload form has no digest of the file, or one that is no digest."
        "Use a current client; it sends them.";
    "form-duplicate-field" "Field sent twice"
        "The upload form has a field twice that may occur once."
        "Use a current client.";
    "form-expired" "Form not of this session"
        "The form was sent without the token of the session that it was shown to: the session ended or changed, cookies are not kept, or another site made it up."
        "Load the page again and send the form from there.";
    "form-malformed" "Form malformed"
        "The upload is not a form that can be read."
        "Publish with uv or twine, or send the form that they send.";
    "form-mismatch" "Form and file differ"
        "The form says something else than the metadata inside the file. The file is believed."
        "Upload the file as it was built; do not override metadata on the way.";
    "form-over" "Form no longer kept"
        "What was typed before proving again who you are was kept for five minutes and for one use, in the browser's own session; that is over."
        "Nothing was done. Open the page again and type it once more.";
    "form-protocol" "Protocol version unknown"
        "The upload form names a protocol version that does not exist."
        "Send protocol_version=1, or leave it out.";
    "form-too-large" [413] "Form too large"
        "The text fields of the upload form are too many or too long."
        "Shorten the description; the file itself does not count here.";
    "health-malformed" "Health of sources can not be used"
        "A file on the health of source projects is not in a form that is known here, or a result in it makes no sense."
        "Give results of Scorecard as JSON: one, a list, or one a line.";
    "identity-not-linked" "Not linked"
        "The account has no such link to an external provider."
        "Open the security page again.";
    "identity-taken" "Linked elsewhere"
        "Who you are at the provider is linked to an account here already."
        "Sign in with it and unlink it there first.";
    "identity-unknown" "Not linked to an account"
        "No account here is linked to who you are at the provider."
        "Sign in another way and link it on the security page.";
    "incident-began" "An incident of the future"
        "An incident can not begin later than now."
        "Give the time from which on it is about.";
    "incident-subjects" "Too many packages for one incident"
        "An incident is about so many projects, releases and files at most."
        "Name projects instead of their releases, or open a second incident.";
    "incident-unknown" "No such incident"
        "There is no incident of this id, or it is not public."
        "They are listed at /incidents.";
    "internal" "Failed inside"
        "The registry failed in a way that it should not."
        "This is not your fault. Try again; if it stays, give the operator the request id.";
    "invitation-unknown" "Invitation not usable"
        "The invitation is for somebody else, was used, was taken back, or is over."
        "Ask for another one.";
    "issuer-exists" "Issuer exists"
        "There is an issuer of this name or address already."
        "Operators: remove it first, or choose another name.";
    "issuer-name" "Issuer name not allowed"
        "The text can not name an issuer."
        "Operators: use letters, digits, dashes, dots and underscores, and none of the built-in names.";
    "issuer-unknown" "Issuer not admitted"
        "The identity token comes from an issuer that is not taken here."
        "See /api/v1/issuers for those that are; the operator can admit others.";
    "issuer-unreachable" "Issuer not reachable"
        "The keys of the issuer could not be fetched, so its tokens can not be checked now."
        "Run the job again in a minute; nothing was used up. If it stays, the provider is down or this registry can not reach it.";
    "json-invalid" "JSON not acceptable"
        "The text is no JSON, is nested too deep, or holds a key that readers understand differently."
        "Send it with a current client, which writes none of that.";
    "json-malformed" "JSON malformed"
        "The body of the request is not the JSON that belongs there."
        "See the description of the API at /api/v1/openapi.json.";
    "json-too-large" [413] "JSON too large"
        "The body of the request is too large."
        "Send less at once.";
    "key-locked" "Key stays locked"
        "The key is encrypted or in a token, and its passphrase or PIN is missing or wrong."
        "Type it when asked, or set COUNTERSIGN_TUF_PASSPHRASE or COUNTERSIGN_PKCS11_PIN.";
    "key-source" "No source of a key"
        "What was given does not say where a key is."
        "A key is file:PATH, env:NAME, or pkcs11:token=LABEL;object=LABEL?module-path=FILE.";
    "key-unreadable" "Key not usable"
        "A key can not be read where its source says, or is of a kind that TUF's clients do not know."
        "Keys are Ed25519 or P-256: PKCS#8 in PEM, or in a PKCS#11 token.";
    "last-owner" "Last owner"
        "The last owner of a project can not leave it."
        "Make somebody else an owner first.";
    "leaf-unknown" "No such leaf"
        "The log has no leaf of this number yet."
        "The checkpoint at /log/1/checkpoint says how many there are.";
    "licence-file-missing" "Licence file missing"
        "The metadata names a licence file that is not in the archive."
        "Put it in, or take the name out of the metadata.";
    "link-not-for-this" "Link for a new password"
        "A link for a new password does not register passkeys: that would get round the second factor."
        "Sign in with the new password, then add a passkey.";
    "link-unknown" "Link not good"
        "The link was used, is too old, or never was one: each is good once and for a short time."
        "Ask for another mail, and open the link of the newest one.";
    "lock-malformed" "Lock file not readable"
        "The file is a lock file by its name, and its content is not one."
        "Write it again with the tool that made it: uv lock, pip lock, pip-compile --generate-hashes.";
    "lock-unknown" "Lock file of no known kind"
        "uv.lock, pylock.toml and requirements with hashes are read."
        "Give one of those; the name of the file says which it is.";
    "log-ahead" "Log ahead of the database"
        "The stored log, or a witness, has more leaves than the database: the database was put back to an older state. Nothing is signed."
        "Operators: bring the newest database back, or run `countersignd restore`.";
    "log-entries-count" "Too many entries, or none"
        "A request to a log has 1 to 1000 entries."
        "Send the rest with another request.";
    "log-entry-identifier" "Identifier of an entry"
        "In a log with identifiers each entry has one, of at most 1024 bytes, which stands for one digest; in others none has."
        "Mend the entry that the message names; nothing of the request was taken.";
    "log-entry-malformed" "Entry not readable"
        "An entry is given by its bytes in base64, or by a SHA-256 in hex."
        "Mend the entry that the message names; nothing of the request was taken.";
    "log-entry-size" "Entry too long, or empty"
        "An entry of a log has 1 to 4096 bytes."
        "Log the digest of what is longer.";
    "log-exists" "A registry is there"
        "The database or the file store holds a registry already."
        "Operators: serve that one, or choose another place.";
    "log-forked" "Log forked"
        "The stored log, or what a witness has seen of it, is not the one that the database describes. Nothing is signed."
        "Operators: run `countersignd doctor`.";
    "log-frozen" "Log closed"
        "This log was closed for ever and takes nothing more."
        ASK_OPERATOR;
    "log-identifier-taken" "Identifier stands for something else"
        "An identifier stands for one digest, for ever, and this one stands for another."
        "Publish under another identifier, such as a new version.";
    "log-key-damaged" "Log key damaged"
        "The log's signing key can not be read."
        ASK_OPERATOR;
    "log-key-exists" "Log key exists"
        "There is a log key already; it is never overwritten."
        "Operators: choose another folder, or keep the key that is there.";
    "log-key-missing" "Log key missing"
        "The log's signing key is not where it should be."
        ASK_OPERATOR;
    "log-key-unwritten" "Log key not written"
        "The log's signing key could not be written."
        "Operators: make the folder writable; the message names it.";
    "log-key-wrong" "Key of another log"
        "The key in the keys folder is not this log's."
        "Operators: put this log's key there.";
    "log-mismatch" "Log contradicts its rows"
        "What the database says about the log and what is stored of it differ; nothing is signed until that is resolved."
        "Operators: run `countersignd doctor`.";
    "log-missing" "No log"
        "This registry has no log yet."
        "Operators: run `countersignd init`.";
    "log-origin" "Log origin wrong"
        "The log's origin can not be used, or differs from the one it was made with."
        "Operators: the message says which it is.";
    "log-policy" "Log policy not usable"
        "The policy that names the log's witnesses does not fit this log, or could never be met."
        "Operators: mend the file that log.policy names.";
    "log-service-closed" "Log closed"
        "The log of this service takes no more entries, and stays readable."
        "Ask the operator for another one.";
    "log-service-exists" "Service is there"
        "There is a log of a service of this name, or was one."
        "Choose another name.";
    "log-service-full" "Too many entries wait"
        "So many entries wait for a place or for a checkpoint of this log that no more are taken, for instance because its witnesses do not answer."
        "Send the same request again later. `countersignd log service list` says what keeps the log from moving.";
    "log-service-interval" "Interval not possible"
        "Checkpoints of a log come 50 to 60000 milliseconds apart."
        "Give such an interval.";
    "log-service-late" "Not under a checkpoint yet"
        "The entries are durable and have their places, and the log could not show them in time, for instance because its witnesses do not answer."
        "Send the same request again later: the same entries keep their places.";
    "log-service-unknown" "No such service"
        "There is no log of a service of this name."
        "`countersignd log service list` lists them.";
    "log-stands-still" "Log stands still"
        "The file was accepted but could not be put into the log in time. Nothing is served that is not in the log."
        "Send the identical upload again in a moment; it gets its receipt.";
    "log-tiles-missing" "Parts of the log missing"
        "Stored parts of the log are missing; nothing is signed until they are back."
        "Operators: bring the whole file store back, or restore into an empty one; that starts a new log.";
    "log-unknown" "No such log"
        "There is no log of this number here."
        "The log is at /log/1/.";
    "login-denied" "Not let in"
        "The person at the browser said no to the program."
        "Start the program again, if that was a mistake.";
    "login-limit" "Too many programs wait"
        "Too many programs asked to be let in from this address, or in all."
        "Wait ten minutes and ask again.";
    "login-name" "Program without a name"
        "A program that wants to be let in says what it is, in at most 100 characters."
        "Send a short name without control characters.";
    "login-password" "No login by password"
        "The client asked for a token with user name and password. Passwords are typed at this registry's own pages only."
        "Use the login by browser: npm login --auth-type=web.";
    "login-too-fast" "Asked too often"
        "A program that waits to be let in asked more often than it was told to. Nobody has decided yet."
        "Wait five seconds between questions.";
    "login-unknown" "Nothing waits under this code"
        "The code was mistyped, was answered already, or is older than ten minutes."
        "Compare it with what the program shows, or start the program again.";
    "manifest-invalid" "Manifest not understood"
        "The Cargo.toml in the archive is not as cargo writes it when it packages a crate."
        "Make the crate with `cargo package`.";
    "manifest-missing" "Manifest missing"
        "The archive has no Cargo.toml in its folder NAME-VERSION."
        "Make the crate with `cargo package`.";
    "manifest-rust-version" "Version of Rust"
        "The rust-version in Cargo.toml is not up to three numbers."
        "Write it as \"1.85\".";
    "map-pending" "No map yet"
        "The log does not commit to a map yet: it was begun or restored a moment ago."
        "Try again in a moment.";
    "map-tile-unknown" "No such tile of the map"
        "The map has no such tile. Tiles that only older roots need go after a day."
        "Begin at the newest root, in /log/1/map/head.tlog-proof.";
    "map-torn" "The map is made again"
        "A tile of the map is missing or damaged. The registry makes the map again from the log."
        "Try again in a moment.";
    "member-exists" "A member already"
        "Whoever is invited is a member of the organisation already."
        "Change their standing instead.";
    "member-unknown" "No member"
        "The user is no member of the organisation."
        "Invite them first.";
    "membership-missing" "Not yours to do"
        "The organisation leaves this to its owners, or to its owners and managers."
        "Ask an owner of the organisation.";
    "metadata-classifier" "Classifier malformed"
        "A classifier in the metadata is not of the right form."
        "Correct it in the project's configuration and rebuild.";
    "metadata-control-character" "Control character in the metadata"
        "The metadata holds a control character."
        "Remove it and rebuild.";
    "metadata-direct-reference" "Direct reference"
        "A dependency is given as an address instead of a name and versions."
        "Depend on a published project by name.";
    "metadata-duplicate-field" "Field given twice"
        "The metadata has a field twice that may occur once."
        REBUILD;
    "metadata-encoding" "Metadata not UTF-8"
        "The metadata is not UTF-8."
        "Save it as UTF-8 and rebuild.";
    "metadata-field-too-long" "Field too long"
        "A field of the metadata is too long."
        "Shorten it and rebuild.";
    "metadata-license-expression" "Licence expression wrong"
        "The licence expression is not valid SPDX."
        "Write identifiers of the SPDX list joined by AND, OR and WITH.";
    "metadata-line" "Line malformed"
        "A line of the metadata can not be read."
        REBUILD;
    "metadata-missing-field" "Field missing"
        "The metadata lacks a field that must be there."
        REBUILD;
    "metadata-name" "Name differs"
        "The name in the metadata is not the one in the file name."
        REBUILD;
    "metadata-not-utf8" "Metadata not UTF-8"
        "The metadata is not UTF-8."
        "Save it as UTF-8 and rebuild.";
    "metadata-nul" "NUL in the metadata"
        "The metadata holds a NUL character."
        "Remove it and rebuild.";
    "metadata-requirement" "Dependency malformed"
        "A dependency in the metadata can not be read."
        "Correct it; the message shows the line.";
    "metadata-requires-python" "Requires-Python malformed"
        "The supported Python versions can not be read."
        "Write them like >=3.9.";
    "metadata-too-large" "Metadata too large"
        "The metadata is too large."
        "Shorten the description and rebuild.";
    "metadata-too-many-fields" "Too many fields"
        "The metadata has too many fields."
        "Leave some out and rebuild.";
    "metadata-two-descriptions" "Two descriptions"
        "The metadata has a description in its head and another in its body."
        REBUILD;
    "metadata-unknown" "No metadata beside the file"
        "Only wheels have their metadata served beside them."
        "Read it from the archive.";
    "metadata-url" "Not a web address"
        "A link in the metadata does not begin with http:// or https://."
        "Correct the address, or leave it out.";
    "metadata-version" "Metadata version unknown"
        "The metadata has a version that this registry does not know."
        "Build with a tool that writes version 2.1 to 2.5.";
    "metadata-version-differs" "Version differs"
        "The version in the metadata is not the one in the file name."
        REBUILD;
    "method-not-allowed" [405] "Method not allowed"
        "This address does not do that."
        "The Allow header of the answer says what it does.";
    "migration-failed" "Database not brought up to date"
        "The tables could not be brought to this version's form."
        "Operators: the log says why; the data is as it was.";
    "name-invalid" "Name not allowed"
        "The text is not a project name: ASCII letters and digits, with single dots, dashes and underscores between them."
        "Choose another name.";
    "name-list-malformed" "List of names malformed"
        "A list of protected names can not be used, and nothing of it was imported."
        "Mend the line that is named: one name a line, the best known first.";
    "name-list-name" "Name of a list"
        "A list of protected names can not have this name."
        "Take 1 to 60 letters, digits, dots, dashes and underscores.";
    "name-list-unknown" "No such list"
        "There is no list of protected names of this name."
        "`countersignd admin names list` names them.";
    "name-missing" "Name missing"
        "There is no name."
        "Give one.";
    "name-not-excepted" "No such exception"
        "No exception lets this name stand beside that one."
        "`countersignd admin names list` shows them.";
    "name-not-prohibited" "Name not prohibited"
        "The name is not on the list of prohibited names."
        "Names of the configuration are taken back there.";
    "name-not-typed" "Name not typed"
        "To delete something for ever its name must be typed, and what was typed is not it."
        "Type the name as it is written.";
    "name-refused" "Name not given out"
        "The name is reserved, or too like another project's."
        "Choose another name, or ask the operator of this registry.";
    "name-reserved" "Reserved name"
        "The name belongs to the language or its tools, or cannot be a folder's on some systems."
        "Choose another name.";
    "name-retired" "Name used before"
        "A project of this name was deleted; only its former owners may use the name."
        "Choose another name.";
    "name-spelling" "Spelled otherwise"
        "The name is that of an existing crate, in another spelling; clients would look for it elsewhere in the index."
        "Write the name as the crate's first version has it.";
    "name-taken" "Name taken"
        "A user, an organisation or a team has this name, or had it once. Names are never used again."
        "Choose another name.";
    "name-too-long" "Name too long"
        "The name is too long."
        "Choose a shorter one.";
    "namespace-invalid" "No namespace"
        "A namespace of npm is a scope, such as @acme, or the beginning of names without one."
        "Write the scope alone, without a name after it.";
    "namespace-owned" "Names of an organisation"
        "Names that begin like this are reserved for an organisation."
        "Choose another name, or ask an owner of the organisation.";
    "namespace-taken" "Namespace taken"
        "The namespace belongs to another organisation."
        "The operator frees it first.";
    "namespace-unknown" "No such namespace"
        "The organisation has no such namespace."
        "Ask the operator of this registry to reserve it.";
    "no-log-policy" "No policy"
        "This log waits for no witness, so there is nothing to override."
        "Operators: name witnesses in the file of log.policy.";
    "no-such-page" "Nothing there"
        "Nothing answers at this address."
        "Begin at the front page.";
    "not-acceptable" [406] "Form not available"
        "The client accepts only forms that this is not available in."
        "Ask for one of those that the message names.";
    "not-empty" "Place not empty"
        "The database, the file store or the folder holds something already."
        "Operators: give an empty place; nothing is ever overwritten.";
    "not-initialised" "No registry yet"
        "There is no registry in this database yet."
        "Operators: run `countersignd init`.";
    "not-quarantined" "Not in quarantine"
        "What was to be released from quarantine is not in it."
        "There is nothing to do.";
    "not-yourself" "Not your own account"
        "An operator does not disable their own account."
        "Ask another operator.";
    "nothing-to-replay" "Nothing to replay"
        "The stored log holds no more than the database, so there is nothing to take from it."
        "Start the registry as it is, or bring it back with countersignd restore.";
    "notice-unknown" "No such notice"
        "The project has no such notice; somebody may have put it away."
        "List them again.";
    "npm-access" "No package is more public than its registry"
        "On a restricted registry only those with a credential read anything, so that no package of it is public."
        "Leave the access as it is, or publish to a public registry.";
    "npm-access-factor" "npm's levels of two-factor are not set here"
        "What publishing takes is not one of npm's levels: tokens publish what they reach, and what matters more takes a passkey for everybody."
        "Let the project be published by trusted publishers alone: its settings page, or countersign policy.";
    "npm-access-read" "No role only reads"
        "Whoever may read the registry reads all its packages, so that no team is given that."
        "Grant read-write, which makes the team a maintainer.";
    "npm-attachment" "Attachment not as it should be"
        "A publication has one tarball, named NAME-VERSION.tgz, and at most one provenance bundle, and their lengths are true."
        "Publish again with npm, pnpm or yarn.";
    "npm-base64" "Not base64"
        "The tarball in the request is not plain base64."
        "Publish again with npm, pnpm or yarn.";
    "npm-body" "Publication not usable"
        "The parts of the request contradict each other, or it is not one version of one package."
        "Publish again with npm, pnpm or yarn.";
    "npm-bundle" "Provenance bundle not usable"
        "The provenance bundle in the request is no JSON object, or not as long as the request says."
        "Publish again; if it stays, report it to your client's makers.";
    "npm-bundle-too-large" [413] "Provenance bundle too large"
        "The provenance bundle is larger than any real one."
        "Publish with the bundle that your client makes.";
    "npm-digest-missing" "Digest missing"
        "The manifest has no digest of the tarball that is understood."
        "Publish with a current client, which sends dist.integrity.";
    "npm-filename" "Tarball misnamed"
        "A tarball is named NAME-VERSION.tgz, without the scope."
        "Rename the file, or pack it again with npm pack.";
    "npm-key" "Signing key of the wrong kind"
        "Versions are signed with a key over P-256, since npm's clients know no other."
        "Ask the operator to set up such a key.";
    "npm-key-missing" "Key of npm's signatures missing"
        "The registry can not read the key that signs npm's versions. New versions get their signature when it is there again."
        "The operator puts it back, or makes another: countersignd admin key rotate npm.";
    "npm-key-raced" "Keys changed at the same moment"
        "Another server of this registry made a key for npm's signatures at the same moment."
        "Try again; operators copy the folder of keys to every server first.";
    "npm-key-wrong" "Another key of npm's signatures"
        "The key in the folder of keys is not the one that signs npm's versions here."
        "The operator puts the right key there; every server of one registry has the same.";
    "npm-manifest-differs" "Manifest differs from the tarball"
        "What the client says about the version is not what package.json in the tarball says, which is what gets installed."
        "Publish the folder or the tarball as it is, without scripts that change package.json in between.";
    "npm-message-too-long" "Message too long"
        "The message of a deprecation is too long."
        "Shorten it.";
    "npm-rev" [409] "Changed meanwhile"
        "The package is no longer in the state that the request starts from."
        "Fetch it again and repeat; clients do so by themselves.";
    "npm-token" "No such token is made"
        "npm's command asks for a token that this registry does not know: for several packages, for a scope or an organisation, or one that goes past a passkey."
        "Ask for a token that reaches everything or one package.";
    "npm-trust" "Trusted publisher not readable"
        "What npm trust sent is no trusted publisher, or names something that is not known here."
        "Use npm trust of npm 11.10 or newer, or the project's settings.";
    "npm-update" "Change not usable"
        "The request changes a package in a way that is not understood, or that contradicts what is there."
        "Use the client's commands: npm deprecate, owner, dist-tag, unpublish.";
    "oidc-algorithm-refused" "Signature algorithm refused"
        "The identity token is signed in a way that is not taken from this issuer. What a token says of itself is not asked."
        "Use the token as the CI system gives it. Operators of issuers: sign with RS256, ES256 or EdDSA.";
    "oidc-audience-wrong" "Wrong audience"
        "The identity token is for somebody else: its aud claim is not exactly the audience of this registry."
        "Ask the CI system for a token with the audience that /_/oidc/audience gives, as one text and not as a list.";
    "oidc-before-restore" "Token from before a restore"
        "This registry was restored from a backup, which may not know that the identity token was used already; so those from before are refused."
        "Ask the CI system for a new identity token: run the job again.";
    "oidc-claim-missing" "Claim missing"
        "The identity token lacks a claim that every token must have."
        "Use the token as the CI system gives it.";
    "oidc-discovery-issuer-wrong" "Discovery names another issuer"
        "The issuer's discovery document names another issuer than its address; whose keys it tells is then unclear."
        "Operators: give the issuer's URL exactly as it stands in its iss claim, to the last slash.";
    "oidc-discovery-malformed" "Discovery not readable"
        "The issuer's discovery document is not what OpenID Connect asks for."
        "Operators: see what the issuer answers at /.well-known/openid-configuration.";
    "oidc-expired" "Identity token expired"
        "The identity token was good for a limited time, which is over."
        "Ask for the token just before it is exchanged; building may take longer than it lives.";
    "oidc-feature" "Feature not available"
        "The client asks for upload tokens of a kind that is not to be had here."
        "Ask for none, or for multi-use-token.";
    "oidc-issuer-invalid" "Not an issuer"
        "The text can not be the URL of an issuer."
        "Give the https URL that stands in the iss claim.";
    "oidc-issuer-wrong" "Wrong issuer"
        "The identity token names another issuer than the one whose keys it was checked with."
        "Use the token as the CI system gives it.";
    "oidc-key-unknown" "Signing key unknown"
        "The identity token names a key that its issuer does not publish."
        "Get a new token and try again. If the issuer has just changed its keys, wait a minute.";
    "oidc-keys-malformed" "Keys not readable"
        "The key set that the issuer publishes can not be read."
        "Operators: see what the issuer answers at its jwks_uri.";
    "oidc-keys-unusable" "No usable key"
        "The issuer publishes no key of a kind and a strength that is taken."
        "Operators of issuers: sign with RSA of 2048 to 8192 bits, P-256 or Ed25519.";
    "oidc-lifetime-too-long" "Identity token lives too long"
        "The identity token is good for longer than tokens of this provider are."
        "Use the token that the CI system gives to a job, and none that was made for longer use.";
    "oidc-not-yet-valid" "Identity token not yet valid"
        "The identity token begins later than now."
        "Set the clock of the machine that signs; half a minute of difference is let pass.";
    "oidc-replayed" "Identity token used before"
        "Each identity token can be exchanged once, and this one was."
        "Ask for a new one for each exchange. If nobody of yours used it, it has leaked: look at the job's log and steps.";
    "oidc-signature-wrong" "Signature wrong"
        "The identity token's signature does not fit what it says."
        "Use the token as the CI system gives it, whole and unchanged.";
    "oidc-token-malformed" "Not an identity token"
        "The text is not a signed JSON Web Token."
        "Send the identity token of the CI system, whole and unchanged.";
    "oidc-token-too-large" "Identity token too large"
        "The identity token is longer than this registry reads."
        "Leave out claims that the CI system lets you add.";
    "operator-needed" "Operator only"
        "Only the operator of this registry may do this."
        "Ask the operator.";
    "organisation-frozen" "Organisation frozen"
        "The operator lets nobody change an organisation and its projects for now; the error says why. What is published is served as before."
        "Wait until it is over, and look at /incidents. Withholding files of your own is never stopped.";
    "organisation-name" "Name for people refused"
        "The name for people is one line of 1 to 100 bytes."
        "Shorten it.";
    "organisation-owns-projects" "It owns projects"
        "An organisation that owns projects is not removed."
        "Transfer or delete the projects first.";
    "organisation-unknown" "No such organisation"
        "There is no organisation of this name here."
        "Check its name.";
    "osv-index" "Index of advisories can not be used"
        "The index that was kept of the advisories is cut off, or was made by another version of the program."
        "Delete it, or run the command again with the advisories: it is made anew.";
    "osv-malformed" "Advisory can not be used"
        "A file of advisories is not in the form of OSV, or a record in it makes no sense."
        "Fetch it again; if it stays so, tell whoever made it.";
    "override-reason" "Reason missing"
        "Whoever lets the log go on without its witnesses says why."
        "Operators: give a reason of at most 500 bytes.";
    "override-time" "Too long"
        "The log may go on without its witnesses for seven days at most."
        "Operators: give an earlier time; it can be renewed.";
    "owner-invalid" "Not an owner"
        "What was named is neither a person nor a team."
        "Write a user name, or ORGANISATION:TEAM.";
    "owner-needed" "An owner is needed"
        "Every organisation has an owner, and none was named."
        "Name a user as its owner.";
    "package-json" "package.json not readable"
        "The package.json in the tarball is no JSON object that every reader understands alike."
        "Mend it with npm pkg fix, and pack again.";
    "package-json-bin" "Program not allowed"
        "An entry of bin in package.json can be no program's name or path."
        "Rename it.";
    "package-json-dependency" "Dependency not allowed"
        "An entry among the dependencies in package.json is no package name, or its specifier is not usable."
        "Correct it.";
    "package-json-duplicate-key" "Key twice in package.json"
        "A key of package.json that matters stands there twice, and readers may take either."
        "Remove one of them.";
    "package-json-missing" "package.json missing"
        "The tarball has no package.json in its top folder."
        "Pack it with npm pack.";
    "package-json-too-large" "package.json too large"
        "package.json has more entries than any real one."
        "Remove some.";
    "page-not-found" "No such page"
        "There is no page at this address."
        "Check the address, or search.";
    "passkey-cloned" "Copied key"
        "The counter of the key went backwards, as it does when there is a copy of it. The key is locked."
        "Sign in another way, remove the key, register another one.";
    "passkey-exists" "Registered already"
        "This key is registered already."
        "Use another device, or sign in with this one.";
    "passkey-malformed" "Not a passkey's answer"
        "What was sent is not the answer of a passkey."
        "Send the credential as the browser's toJSON() gives it.";
    "passkey-needed" "A passkey is needed"
        "This is done only in a session that was signed in to with a passkey or security key."
        "Add one to the account, sign in with it, and try again.";
    "passkey-not-yours" "Another account's key"
        "Only a key of your own account confirms this."
        "Use one that stands on your security page.";
    "passkey-refused" "Answer refused"
        "The passkey's answer is for another site or question, or the device did not check who uses it."
        "Try again on this site's own address.";
    "passkey-unknown" "Unknown passkey"
        "The passkey is not registered here, or was removed."
        "Use another one, or another way to sign in.";
    "passkeys-need-a-name" "Registry without a name"
        "Passkeys belong to a host name, and this registry's URL has an address instead."
        "The operator sets url to a name in the configuration.";
    "passkeys-of-another-name" "Registry was moved"
        "Passkeys here were made for another name; they can not be moved."
        "The operator serves the registry under its former name again.";
    "password-breached" "Stolen password"
        "The password stands in a collection of stolen ones, so it no longer opens the account."
        "Ask for a new password by mail, or sign in with a passkey.";
    "password-common" "Too common"
        "The password is one of the first that anybody would try."
        "Use several words that do not belong together, or a password manager.";
    "password-known" "Stolen password"
        "The password stands in a collection of stolen ones."
        "Choose one that you use nowhere else.";
    "password-length" "Length of a password"
        "A password has 8 characters or more, and at most 4096 bytes."
        "Use several words, or better a passkey.";
    "path-encoding" "Path not encoded properly"
        "A part of the URL's path is encoded in a way that readers understand differently."
        "Use a current client, or write the name plainly.";
    "pending-needs-owner" "Owner missing"
        "A pending publisher founds a project, which somebody must own."
        "Operators: name the user.";
    "pending-publisher-disputed" "Two accounts, one workflow"
        "Several accounts registered workflows of one repository for the same new project, and only one of them can own it. Nothing was made."
        "If one of them is not yours, ask the operator to remove it; or publish the first release with a token of yours.";
    "pending-publisher-expired" "Pending publisher lapsed"
        "The pending publisher was not used in its time."
        "Register it anew, and publish before it lapses.";
    "pending-publisher-lost" "Name taken meanwhile"
        "A project of this name came into being before the pending publisher was used; it reserved nothing."
        "Choose another name, or ask that project's owners to register your workflow.";
    "policy-environment" "Environment not allowed"
        "The text can not be the name of an environment."
        "Give the environment's name, or none.";
    "policy-locks-out" "Nobody could publish"
        "With this policy nobody could publish the project any more, because it has no trusted publisher."
        "Register a publisher first.";
    "project-archived" "Project archived"
        "The project takes no files any more."
        "An owner can set its status back to active.";
    "project-elsewhere" "No organisation owns it"
        "Teams have roles on the projects of their own organisation only."
        "Transfer the project to the organisation first.";
    "project-exists" "Project exists"
        "There is a project of this name, so no pending publisher can found it."
        "If it is yours, register the publisher for it; else choose another name.";
    "project-frozen" "Project frozen"
        "The operator lets nobody change a project for now; the error says why. What is published is served as before."
        "Wait until it is over, and look at /incidents. Withholding files of your own is never stopped.";
    "project-quarantined" [403] "Project in quarantine"
        "The project is withheld because something about it may be harmful."
        "Choose another project, and read the reason given.";
    "project-restricted" "Marked as private"
        "The package says of itself that it is private, and everything on this registry is public."
        "Take the classifier out, or publish to a restricted registry. Who sees a project is set on its settings page.";
    "project-unknown" "No such project"
        "There is no project of this name here."
        "Check the spelling; the first upload makes a project.";
    "proposal-exists" "Asked for already"
        "The same request waits already."
        "Confirm it or stop it.";
    "proposal-too-early" "Not yet"
        "The request waits for some days, so that every owner can stop it."
        "Come back when the time is over.";
    "proposal-unknown" "No such request"
        "The request was done, was stopped, is over, or is not yours."
        "Look at the settings for requests that wait.";
    "proposal-void" "The request makes no sense any more"
        "Who asked is an owner no longer, or what was asked for is so already."
        "Stop it, and ask anew if it is still meant.";
    "provenance-none" "No provenance"
        "The publisher of the file sent no attestations."
        "There is nothing to fetch; the registry's own attestations are in the API.";
    "provider-failed" "Provider failed"
        "The external provider did not finish the sign-in."
        "Try again, or sign in another way.";
    "provider-refused" "Provider said no"
        "The sign-in provider sent the browser back without an answer."
        "Try again, or sign in another way.";
    "provider-stale" "Not asked just now"
        "The sign-in provider did not check just now who it is, which a recovery takes."
        "Sign out there, begin again, and sign in when you are asked to.";
    "provider-unknown" "No such provider"
        "There is no such sign-in provider here."
        "Open the sign-in page again.";
    "publish-differs" "Request and archive differ"
        "What the publish request says of the crate is not what the Cargo.toml in the archive says."
        "Publish with `cargo publish`, which takes both from one place.";
    "publish-metadata" "Request not understood"
        "The JSON part of the publish request is not as cargo sends it."
        "Publish with a current cargo.";
    "publish-metadata-too-large" "Request too large"
        "The JSON part of the publish request is larger than one MiB."
        "Shorten the README and the metadata of the crate.";
    "publish-trailing-data" "Bytes after the crate"
        "The publish request goes on after the crate it announced."
        "Publish with a current cargo; proxies must not change the body.";
    "publish-truncated" "Request cut short"
        "The publish request ended before the crate it announced."
        "Publish again.";
    "publisher-ambiguous" "Two publishers have this number"
        "Cargo's clients name publishers by numbers, and two of the caller's crates have a publisher of the same number."
        "Say which crate is meant with ?crate=NAME, or name the publisher by its own id.";
    "publisher-exists" "Publisher exists"
        "The project has this publisher already."
        "Remove it first if its ids are to be learnt anew.";
    "publisher-invalid" "Publisher not possible"
        "Something that was given to register a publisher is missing or can not be right; the error names each field."
        "Correct the fields. /help/trusted-publishing says what is asked for.";
    "publisher-may-nothing" "Publisher without a permission"
        "A trusted publisher whose tokens may neither publish nor stage is of no use."
        "Name at least one permission.";
    "publisher-mismatch" "Workflow does not fit"
        "The identity token is genuine, and a publisher for its repository is registered, but a claim differs. The error says which, what was expected and what was there."
        "Change the workflow so that it fits, or let an owner of the project register a publisher that fits it.";
    "publisher-none" "No publisher"
        "The identity token is genuine, and no project here has a publisher for it."
        "Register the workflow first; check owner and repository for misspellings.";
    "publisher-not-here" "Not a publisher of this project"
        "The upload token was made for a workflow that is no publisher of this project, or is none any more."
        "Publish to the project that the workflow is registered for, or let an owner register it here.";
    "publisher-pin-expired" "Publisher not used in time"
        "The provider could not be asked for the repository's ids, so the first token was to tell them; it did not come in time."
        "An owner removes the publisher and registers it anew, and then publishes soon.";
    "publisher-publishes-only" "Publisher may not stage"
        "The trusted publisher may publish at once, and not stage."
        "Publish, or let an owner register it with the permission to stage.";
    "publisher-stages-only" "Publisher may only stage"
        "The trusted publisher may stage versions for a person to approve, and not publish them."
        "Stage it: npm stage publish. Then an owner approves it.";
    "publisher-unconfirmed" "Publisher not confirmed"
        "The provider was asked about the repository, and its answer can not be used or is about another one."
        "Check owner and repository, and that the issuer is of the kind that it is registered as.";
    "publisher-unknown" "No such publisher"
        "The project has no such publisher."
        "List them again.";
    "purl-invalid" "Package URL malformed"
        "The text is not a package URL of the form that stands in the log."
        "Copy it from the file's page.";
    "query-malformed" "Query malformed"
        "The query of the address can not be read."
        "See the description of the API at /api/v1/openapi.json.";
    "reason" "Reason not allowed"
        "A reason is one short line."
        "Shorten it, and link to more.";
    "recently-recovered" "Recovered a short while ago"
        "For a week after its recovery an account can neither delete, hand over, nor make tokens."
        "Wait until then, or ask another owner.";
    "recovery-identity" "Not linked to the account"
        "Who signed in at the provider is not linked to the account that is to be recovered."
        "Sign in there as who you linked to the account, or give another proof.";
    "recovery-no-address" "No address to recover by"
        "The account has no proved address that counts for recovery."
        "Another address, proved in time, would have helped; an account that was never used takes a new enrolment link.";
    "recovery-own" "Your own recovery"
        "Nobody agrees to the recovery of their own account."
        "Ask another operator.";
    "recovery-reason" "A reason, please"
        "A recovery is refused with a reason of one line and at most 200 characters."
        "Those concerned read it: say what they should know.";
    "recovery-unknown" "No such recovery"
        "There is no such recovery, it has ended, or you own nothing together with the account."
        "Begin again with the user name or an address of the account.";
    "registry-frozen" "Registry frozen"
        "The operator lets nobody publish or change anything for now; the error says why. What is published is served as before."
        "Wait until it is over, and look at /incidents. Nothing was lost; publish again then.";
    "release-advised-against" "Not served because of an advisory"
        "The operator of this registry does not serve what an advisory of this kind means."
        "Choose another version, or ask the operator for an exemption.";
    "release-closed" "Release closed"
        "The release is too old to take further files."
        "Publish a new version.";
    "release-quarantined" "Release in quarantine"
        "The release is withheld because something about it may be harmful, and takes no files."
        "Publish a new version, or ask the operator of this registry.";
    "release-unknown" "No such release"
        "The project has no release of this version."
        "The project's page lists its releases.";
    "report-evidence" "Evidence missing or no address"
        "A report of malware says where it can be seen, by an https:// address."
        "Give the address of a line of the code, of an analysis or of an issue.";
    "report-kind" "No such kind of report"
        "A report says what is wrong by one of five words."
        "Use malware, spam, dependency-confusion, abuse or other.";
    "report-unknown" "No such report"
        "Reports are found by the ticket that was given when they were made; one that was judged is not judged again."
        "Copy the ticket whole.";
    "report-verdict" "No such verdict"
        "A report is found confirmed, unfounded or duplicate."
        "Use one of these words.";
    "reports-enough" "Reported often already"
        "So many reports about this project wait for an operator that one more says nothing new."
        "Wait. What is new, send to the security contact.";
    "request-invalid" "Request not understood"
        "The body of the request is not as the client's documentation has it."
        "Use a current version of the client.";
    "request-too-large" "Request too large"
        "The body of the request is larger than such requests ever are."
        "Send less at once.";
    "restore-unfinished" "Restore not finished"
        "A restore into this database began and did not end; what is there is not whole."
        "Operators: run the same `countersignd restore` again; it begins anew by itself.";
    "restore-unproven" "Restored state not proven"
        "What was restored does not prove itself; nothing is served or signed."
        "Operators: restore another backup into empty places.";
    "role-missing" "Role missing"
        "You lack the role on this project that this needs; the message names it."
        "Ask an owner of the project for it.";
    "scan-body" "Report not readable"
        "The signed report is no JSON list."
        "Send a list of objects with token, type, url and source.";
    "scan-headers" "Not a scanner's report"
        "The address takes the signed reports of secret scanners, and the headers of none of them are there."
        "Anybody else may paste a leaked token on the page for leaked tokens.";
    "scan-key" "Key not current"
        "The scanner publishes no current key of the id that the report names."
        "Sign with a current key.";
    "scan-keys-unreachable" "Keys of the scanner unreachable"
        "The keys that the scanner publishes can not be fetched or read now, so its report can not be checked."
        "Send the report again later.";
    "scan-signature" "Report not signed"
        "The signature is not one of this very report by that key."
        "Sign the body exactly as it is sent.";
    "scan-too-large" "Report too large"
        "The report is larger than this registry reads."
        "Send it in parts.";
    "sdist-pkg-info" "PKG-INFO missing"
        "The source distribution has no PKG-INFO in its top folder."
        REBUILD;
    "sdist-top-directory" "Top folder wrong"
        "The top folder of a source distribution must be NAME-VERSION."
        REBUILD;
    "second-factor-needed" "A second factor is needed"
        "This is done only in a session that was signed in to with a second factor or a passkey."
        "Add one to the account, sign in with it, and try again.";
    "second-person-needed" "A second person is needed"
        "The last owner who is hard to phish goes only with the word of a second owner of some days' standing, or after a waiting time."
        "Ask for the removal; another owner confirms it, or you do when the time is over.";
    "second-sdist" "Second source distribution"
        "A release has one source distribution, and this one has it already."
        "Publish a new version.";
    "service-name" "Name not possible"
        "A service has a name of lower-case letters, digits and hyphens."
        "Choose another.";
    "service-project" "Name of a project"
        "A project of another registry has a name of 1 to 256 bytes without control characters."
        "Give such a name.";
    "service-token" "Token of a service"
        "This takes the token of a service, and of the right part of it: no other."
        "Make one with `countersignd log service token NAME`, `countersignd exchange token NAME` or `countersignd tuf service token NAME`.";
    "session-ended" "Not signed in"
        "The page is somebody's own, and the session has ended or there was none."
        "Sign in and do it again.";
    "session-needed" "Sign in"
        "This is for the holder of an account, signed in in a browser; a token is not enough."
        "Sign in, then open the page again.";
    "session-over" "Signed out"
        "There is no session, or it has ended."
        "Sign in again.";
    "session-unknown" "No such session"
        "The session is not one of yours, or it has ended."
        "Open the list of sessions again.";
    "sign-in-busy" "Too busy"
        "Passwords are checked by few at a time, and too many wait."
        "Try again in a minute; passkeys are not affected.";
    "sign-in-key-missing" "Key missing"
        "The key that codes are sealed with is not in the folder of keys."
        "The operator puts it back; passkeys and recovery codes work without it.";
    "sign-in-key-wrong" "Wrong key"
        "The key in the folder is not the one that codes here were sealed with."
        "The operator puts the right one back.";
    "sign-in-needed" "Sign in to read"
        "This registry shows its packages to known users only."
        "Send a token with the read action as the password, with any user name.";
    "sign-in-unknown" "Sign-in over"
        "The sign-in was finished before, took too long, or began in another browser."
        "Begin again from the sign-in page.";
    "sign-in-wrong" "Wrong name or password"
        "The user name or the password is wrong; which of them is not said."
        "Try again, use a passkey, or ask for a new password.";
    "sign-up-closed" "No sign-up"
        "Accounts are made by the operator of this registry."
        "Ask them for one.";
    "source-changed" "From another source"
        "The project was built from another repository before."
        "Publish from the source that the project is known for; or an owner declares the move first, signed in with a passkey.";
    "spool-unwritable" "Upload not stored"
        "The registry could not write the upload to its disk."
        RETRY;
    "stage-differs" "Another digest"
        "What was approved is not what is staged under this id."
        "Look at what is staged again.";
    "stage-exists" "Version staged already"
        "Other bytes of this version, or from another sender, wait for an answer."
        "Approve or reject those first.";
    "stage-over" "Waits no more"
        "The staged version was approved or rejected, or nobody answered in time."
        "Stage it again if it is still wanted.";
    "stage-published" "Published already"
        "The version that was to be staged is published, with the same bytes."
        "There is nothing left to do.";
    "stage-unknown" "Nothing staged"
        "Nothing is staged under this id, or nothing that you may see."
        "List what waits: npm stage list.";
    "stars-private" "Stars are one's own"
        "What an account starred is shown to it alone."
        "Ask for your own stars.";
    "step-up-needed" "Prove again that it is you"
        "This is done only within some minutes after you have shown a passkey, or password and second factor."
        "Confirm, and try again.";
    "step-up-needs-passkey" "Passkey needed"
        "The account has a passkey, so that is what confirms this; a password can be tricked out of people."
        "Use your passkey.";
    "subject-unfit" "Not to be meant here"
        "An operator's command about an incident was given a subject that it does not take, such as the whole registry where one person must be named."
        "Name a user, a token, a session, a publisher, a workflow, an issuer, an address, a project or an organisation, as the command takes them.";
    "subject-unknown" "No such subject"
        "There is no user, token, session, publisher, workflow, project or organisation of this name or id."
        "Look it up first: `countersignd admin` lists users, tokens, projects and publishers.";
    "tag-body" "Version expected"
        "The request that sets a tag has a version as a JSON string in its body."
        "Use npm dist-tag add.";
    "tag-invalid" "Tag not allowed"
        "The text can not be a tag: clients would take it for a version, or it does not stand in a URL."
        "Use a word such as next or beta.";
    "tag-latest" "latest stays"
        "The tag latest always points to a version."
        "Point it to another version with npm dist-tag add.";
    "tag-unknown" "No such tag"
        "The package has no tag of this name."
        "Look at its tags: npm dist-tag ls NAME.";
    "tags-too-many" "Too many tags"
        "A package has as many tags as it may."
        "Remove those that nobody uses with npm dist-tag rm.";
    "team-owner" "Teams are no owners"
        "A team can not have the role of an owner; the owners of its organisation are owners of its projects."
        "Give it the role maintainer, publisher or security.";
    "team-unknown" "No such team"
        "The organisation has no team of this name."
        "Look at the organisation's page for its teams.";
    "text-length" "Text too short or too long"
        "What you write is read by a person, and stored."
        "Say what matters, and link to more.";
    "tile-missing" "Part of the log missing"
        "A stored part of the log can not be found; nothing is signed until it is back."
        "Operators: run `countersignd doctor`.";
    "tile-path" "Tile path malformed"
        "The text is not the path of a tile."
        "See c2sp.org/tlog-tiles for the form.";
    "tile-unknown" "No such tile"
        "The log has no such tile."
        "Read the checkpoint first; its size says which tiles there are.";
    "token-action" "Token too narrow"
        "The token may do less than this needs."
        "Use a token made for more.";
    "token-ambiguous" "Several tokens"
        "The hint fits several tokens."
        "Give the token's id.";
    "token-ecosystem" "Token of another ecosystem"
        "The token is for another ecosystem."
        "Use a token for this one.";
    "token-expired" "Token expired"
        "The token was good for a limited time, which is over."
        "Make a new one.";
    "token-in-address" "Token in an address"
        "An address holds a token itself. Proxies and logs keep addresses, so others may have read it."
        "Take a new token, revoke this one by its id or hint, and never put one into an address.";
    "token-lifetime" "Lifetime not allowed"
        "A token may not live that long here."
        "Choose a shorter time.";
    "token-malformed" "Not a token"
        "The text sent is not a token of such a registry, or was not copied whole."
        "Check that all of it was copied; it begins with csgn_.";
    "token-namespace" "Token for another namespace"
        "The token is for the projects of one namespace only, and this project is not in it."
        "Use a token for this namespace, or one without a namespace.";
    "token-needed" "Token needed"
        "This needs a token, and none was sent."
        "Send an API token as the password, with the user name __token__.";
    "token-network" "Token for other networks"
        "The token may be used from some networks only, and the request came from elsewhere."
        "Use it from there, or make another token.";
    "token-networks" "Too many networks"
        "A token may name only so many networks."
        "Name wider ones.";
    "token-not-for-this" "Another kind of secret"
        "The secret is not for this use."
        "Use an API token.";
    "token-project" "Token of another project"
        "The token is for another project only."
        "Use a token for this project, or one for all.";
    "token-revoked" "Token revoked"
        "The token was revoked."
        "Make a new one.";
    "token-unknown" "Token unknown"
        "There is no such token here."
        "Was it made on another registry? Make one here.";
    "too-many-approvals" "Too many requests wait"
        "The account has too many requests for approvals that nobody answered."
        "Answer or refuse them first.";
    "too-many-attempts" "Too many attempts"
        "Attempts are counted for each account and each network; passkeys, and browsers that you used before, are not held up by others."
        "Wait until the time that the message names, or use a passkey.";
    "too-many-digests" "Too many digests"
        "One question may name at most 100 digests."
        "Ask in several parts.";
    "too-many-invitations" "Too many invitations"
        "An organisation invited very many times within a day; whoever is invited gets a mail, so there is a bound."
        "Go on tomorrow; inviting somebody again does not help.";
    "too-many-organisations" "Too many organisations"
        "An account owns only so many organisations."
        "Remove one that is no longer used, or ask the operator.";
    "too-many-pending" "Too many pending publishers"
        "The account has as many pending publishers as it may have."
        "Use some of them or remove those that are not needed.";
    "too-many-publishers" "Too many publishers"
        "The project has as many trusted publishers as it may have, or you have registered as many for one repository."
        "Remove those that are not used, or let one with a pattern stand for several.";
    "too-many-races" "Too many at once"
        "Others kept changing the same project at the same moment."
        RETRY;
    "too-many-staged" "Too many staged versions"
        "As many versions of the project wait for an answer as may."
        "Approve or reject some of them.";
    "too-many-stars" "Too many stars"
        "An account may star many projects, but not without end."
        "Take stars back that you no longer need.";
    "totp-exists" "App for codes exists"
        "An account has one app for codes."
        "Remove that one first.";
    "trust-lost" "Less behind it than before"
        "The project was published with more behind it before (an API token, a trusted publisher, provenance)."
        "Publish as before; or an owner opens an exception first, signed in with a passkey.";
    "trust-root-builtin" "Built in"
        "This trust root is inside the program."
        "The operator leaves it out of provenance.trust_roots in the configuration file.";
    "trust-root-invalid" "No trust root"
        "The document is no trusted_root.json that can be used."
        "Give one as cosign trusted-root create writes it.";
    "trust-root-name" "Name not possible"
        "A private trust root has a name of 1 to 64 of a-z, 0-9 and -, other than those of the built-in ones."
        "Choose another name.";
    "trust-root-stale" "Not refreshed"
        "A trust root could not be refreshed; the document from before goes on being used."
        "Look at the reason given, and at whether this machine reaches the update server; it is tried again by itself.";
    "trust-root-unknown" "No such trust root"
        "There is no trust root of this name."
        "List them: countersignd admin trust-root list.";
    "trust-too-low" "Trust too low"
        "The project takes only files behind which more stands than behind this one."
        "Publish from the project's registered workflow. An owner can lower the level.";
    "trusted-identity-exists" "Trusted already"
        "The project takes attestations of this identity already."
        "Nothing needs to be done.";
    "trusted-identity-invalid" "No identity"
        "An issuer and a repository are https addresses without user, query, fragment or final slash."
        "Correct it and ask again.";
    "trusted-identity-unknown" "No such identity"
        "The project trusts no identity of this id."
        "Look at the project's provenance settings.";
    "trusted-publishing-off" [403] "Trusted publishing switched off"
        "The operator of this registry has switched trusted publishing off."
        "Publish with a token, or ask the operator.";
    "trusted-publishing-only" "Trusted publishers only"
        "The project takes files from its registered workflows only; API tokens are refused."
        "Publish from the workflow. An owner of the project can lift this.";
    "tuf-damaged" "TUF repository damaged"
        "What is stored of a TUF repository does not fit together; nothing of it is signed."
        "Operators: bring back the database from a backup.";
    "tuf-file-unknown" "No such metadata"
        "The TUF repository has no file of this name."
        "Begin with timestamp.json: it names what is current.";
    "tuf-key-missing" "TUF key away"
        "A key that signs TUF metadata can not be had."
        "Operators: put it back, or give its role another key.";
    "tuf-key-source" "No source of a key"
        "The text does not say where a key is."
        "Name a file in the folder of keys: file:NAME.";
    "tuf-namespace" "No namespace"
        "What was named is no namespace of an index that can be signed by its owners."
        "A namespace is @scope/* (npm), a beginning of names as acme-*, or one name.";
    "tuf-namespace-overlap" "Namespace taken"
        "Some of these projects are signed by owners of another namespace already."
        "Take that back first with countersignd tuf namespace remove.";
    "tuf-namespace-unknown" "No such namespace"
        "No owners sign a namespace of this name."
        "countersignd tuf namespace status lists them.";
    "tuf-offline-role" "Signed by people"
        "This role of TUF is signed by people, not by the server."
        "Sign its next document with countersignd tuf sign.";
    "tuf-refused" "Not signed"
        "TUF metadata was not signed, since clients would refuse it."
        "Operators: look at countersignd tuf status.";
    "tuf-role" "No such role"
        "Only roles that sign without people have keys that the server rotates."
        "Those are timestamp, snapshot, index and bins.";
    "tuf-service-bootstrapped" "Ceremony was held"
        "The service has its root already, or one that waits for signatures."
        "Change it with `rstuf admin metadata update`, or sign what waits.";
    "tuf-service-exists" "Service is there"
        "There is a TUF service of this name."
        "Choose another name.";
    "tuf-service-not-ready" "Service not ready"
        "The service has no root that enough people signed."
        "Hold the ceremony, and sign until the threshold is met.";
    "tuf-service-nothing-pending" "Nothing to sign"
        "No document of this role waits for signatures."
        "Ask which do: GET api/v1/metadata/sign.";
    "tuf-service-online-key" "Another online key"
        "The root names an online key that the service does not have, or more than one."
        "Give the ceremony the public key of `countersignd tuf service create` or `next-key`.";
    "tuf-service-pending" "Another root waits"
        "A root waits for signatures, and only one can."
        "Sign it, or drop it with `rstuf admin metadata stop-sign`.";
    "tuf-service-request" "Request not taken"
        "What was sent to a TUF service can not be listed or signed as it is. The message says what is wrong."
        "Mend it and send it again; nothing was changed.";
    "tuf-service-token" "Token of the service"
        "A TUF service takes tokens of its own and no others."
        "Make one with `countersignd tuf service token NAME`.";
    "tuf-service-unknown" "No such service"
        "There is no TUF service of this name."
        "`countersignd tuf service list` lists them.";
    "tuf-target-unknown" "No such target"
        "No target has this path and digest now, or had it within the last day."
        "Take its digest from the metadata that is current.";
    "tuf-unknown" "No such TUF repository"
        "There is no TUF repository of this name."
        "They are listed at /.well-known/countersign.json.";
    "upload-cut-short" "Upload cut short"
        "The upload ended too early."
        RETRY;
    "upload-truncated" "Upload cut short"
        "The upload ended too early, or its connection broke."
        RETRY;
    "uploads-full" "Too many uploads"
        "The registry is receiving as many uploads as it can."
        RETRY;
    "user-exists" "User exists"
        "There is a user of this name already."
        "Choose another name.";
    "user-name" "User name not allowed"
        "The text is not a user name."
        "Use lower-case letters, digits and single dashes.";
    "user-unknown" "No such user"
        "There is no user of this name here."
        "Check the spelling.";
    "version-invalid" "Version not allowed"
        "The text is not a version (PEP 440)."
        "Write it like 1.2.3, 1.2rc1 or 1.2.post1.";
    "version-local" "Local version"
        "Versions with a plus sign are for use at home and are not published."
        "Remove the part from the plus sign on.";
    "version-missing" "Version missing"
        "There is no version."
        "Give one.";
    "version-retired" "Version deleted before"
        "This version was deleted; a version is never used twice."
        "Publish a new version.";
    "version-too-long" "Version too long"
        "The version is too long."
        "Shorten it.";
    "visibility-differs" "A publication does not hide a project"
        "The publication asks for a private project, and the project is public."
        "Publish without that wish. Owners make a project private on its settings page or with npm access.";
    "visibility-malformed" "Neither public nor private"
        "A project is public or private; the request says neither."
        "Say public or private.";
    "visibility-too-late" "Public for too long to become private"
        "To everybody without a role on it, a project that becomes private is gone like a deleted one. So owners do that only as long as the registry's rule for deletion lets them delete what is in it."
        "Publish what must be private under a new name, or ask the operator.";
    "wheel-dist-info" "dist-info folder wrong"
        "A wheel has exactly one NAME-VERSION.dist-info folder, named as the wheel is."
        REBUILD;
    "wheel-entry-points" "Entry points malformed"
        "entry_points.txt can not be read."
        "Correct the entry points in the project's configuration and rebuild.";
    "wheel-file" "WHEEL file malformed"
        "The WHEEL file can not be read."
        REBUILD;
    "wheel-missing-file" "Wheel incomplete"
        "A wheel holds METADATA, WHEEL and RECORD in its dist-info folder."
        REBUILD;
    "wheel-record" "RECORD wrong"
        "RECORD does not list exactly the files of the wheel with their digests."
        "Rebuild the wheel; tools that change it afterwards must write RECORD anew.";
    "wheel-tags" "Tags differ"
        "The tags in the WHEEL file are not those of the file name."
        "Rename with `wheel tags`, which changes both, or rebuild.";
    "witnesses-missing" "Witnesses missing"
        "The log's checkpoint lacks the cosignatures that its policy asks for, so nothing new is shown."
        "Operators: the message says which witness fails, and how; the log goes on by itself when enough answer.";
    "write-conflict" "Somebody was faster"
        "Another request changed the same thing at the same moment."
        RETRY;
    "yank-burst" "Many yanks at once"
        "Whoever yanks every good version makes installers take the one that is left. Owners and operators are told of such a burst."
        "Wait ten minutes, or ask the operator. Taking yanks back is not limited.";
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// The calls whose first text argument is a code.
    const CALLS: [&str; 6] = [
        "Error::new(",
        "unavailable(",
        "Rejection::new(",
        "denied(",
        "refuse(",
        "rejection(",
    ];

    /// The same for tokens and registrations, where `refuse` names a field.
    const TRUST_CALLS: [&str; 1] = ["Refused::new("];

    fn codes_in(text: &str, calls: &[&str], found: &mut BTreeSet<String>) {
        for call in calls {
            for (at, _) in text.match_indices(call) {
                let mut rest = text[at + call.len()..].trim_start();
                if let Some(after) = rest
                    .strip_prefix("crate::error::")
                    .or(Some(rest))
                    .and_then(|rest| rest.strip_prefix("Kind::"))
                {
                    rest = after
                        .split_once(',')
                        .map_or("", |(_, rest)| rest.trim_start());
                }
                let Some((literal, _)) =
                    rest.strip_prefix('"').and_then(|rest| rest.split_once('"'))
                else {
                    continue;
                };
                let kebab = literal
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
                // One-letter codes are the ones of tests.
                if kebab && literal.len() > 1 {
                    found.insert(literal.to_owned());
                }
            }
        }
    }

    fn walk(folder: &Path, calls: &[&str], found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, calls, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                // Tests make up codes of their own.
                let text = std::fs::read_to_string(&path).unwrap();
                let text = text
                    .split("#[cfg(test)]\nmod tests")
                    .next()
                    .unwrap_or_default();
                let text = text
                    .split("#[cfg(test)]\npub(super) fn samples")
                    .next()
                    .unwrap_or_default();
                codes_in(text, calls, found);
            }
        }
    }

    #[test]
    fn every_code_used_in_the_tree_is_explained() {
        let mut used = BTreeSet::new();
        for (name, calls) in [
            ("countersign-formats", &CALLS[..]),
            ("countersign-registry", &CALLS),
            ("countersign-trust", &TRUST_CALLS),
            ("countersign-web", &CALLS),
        ] {
            walk(
                &Path::new(env!("CARGO_MANIFEST_DIR"))
                    .join("..")
                    .join(name)
                    .join("src"),
                calls,
                &mut used,
            );
        }
        assert!(used.len() > 80, "the search finds too little: {used:?}");
        let missing: Vec<_> = used.iter().filter(|code| find(code).is_none()).collect();
        assert!(
            missing.is_empty(),
            "explain these in error_codes.rs: {missing:#?}"
        );
    }

    #[test]
    fn the_table_is_sorted_and_speaks_in_sentences() {
        assert!(ERROR_CODES.is_sorted_by(|a, b| a.code < b.code));
        for entry in ERROR_CODES {
            assert!(
                entry.explanation.ends_with('.') && entry.way_out.ends_with('.'),
                "{}",
                entry.code
            );
            assert_eq!(find(entry.code).map(|found| found.code), Some(entry.code));
        }
        assert!(find("nonsense").is_none());
    }
}

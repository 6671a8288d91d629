//! Mail goes out: by SMTP under TLS, or into a folder or onto the screen where somebody develops.

use std::path::PathBuf;
use std::time::Duration;

use countersign_registry::{Message, Post, PostError};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Tokio1Executor};

use crate::config::{Mail, MailServer};
use crate::failure::Failure;

/// How long one mail may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The most of a server's answer that is repeated.
const SHOWN: usize = 200;

/// Carries mail to where the configuration says.
pub struct Carrier {
    from: Mailbox,
    way: Way,
}

enum Way {
    Smtp(Box<AsyncSmtpTransport<Tokio1Executor>>),
    Folder(PathBuf),
    Console,
}

impl Carrier {
    /// As the configuration says.
    ///
    /// # Errors
    /// A certificate authority that can not be read.
    pub fn new(mail: &Mail) -> Result<Self, Failure> {
        let from = mailbox(mail.from.as_str())
            .map_err(|why| Failure::usage("config-value", format!("mail.from: {why}.")))?;
        let way = match &mail.server {
            MailServer::Console => Way::Console,
            MailServer::Folder(path) => Way::Folder(path.clone()),
            MailServer::Tls(host, port) => {
                Way::smtp(mail, host, *port, Tls::Wrapper(tls(mail, host)?))
            }
            MailServer::StartTls(host, port) => {
                Way::smtp(mail, host, *port, Tls::Required(tls(mail, host)?))
            }
            MailServer::Plain(host, port) => Way::smtp(mail, host, *port, Tls::None),
        };
        Ok(Self { from, way })
    }

    async fn carry(&self, message: &Message) -> Result<(), PostError> {
        let never = |why: String| PostError::Never(format!("the mail can not be written: {why}"));
        let letter = lettre::Message::builder()
            .message_id(Some(format!("<{}>", message.id())))
            .from(self.from.clone())
            .to(mailbox(message.to().as_str()).map_err(never)?)
            .subject(message.subject())
            .header(Automatic)
            .multipart(MultiPart::alternative_plain_html(
                message.text.clone(),
                message.html.clone(),
            ))
            .map_err(|error| never(error.to_string()))?;
        match &self.way {
            Way::Smtp(transport) => match transport.send(letter).await {
                Ok(_) => Ok(()),
                Err(error) => Err(fault(&error, message.to().as_str())),
            },
            Way::Folder(folder) => {
                let later = |error: std::io::Error| {
                    PostError::Later(format!("the mail folder can not be written: {error}"))
                };
                tokio::fs::create_dir_all(folder).await.map_err(later)?;
                // An id is a UUID and a host: it names no other folder.
                let name = message.id().split('@').next().unwrap_or_default();
                let (half, whole) = (
                    folder.join(format!("{name}.part")),
                    folder.join(format!("{name}.eml")),
                );
                tokio::fs::write(&half, letter.formatted())
                    .await
                    .map_err(later)?;
                tokio::fs::rename(&half, &whole).await.map_err(later)
            }
            Way::Console => {
                eprintln!(
                    "--- mail to {}: {}\n{}---",
                    message.to(),
                    message.subject(),
                    message.text
                );
                Ok(())
            }
        }
    }
}

impl Way {
    fn smtp(mail: &Mail, host: &str, port: u16, tls: Tls) -> Self {
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
            .port(port)
            .timeout(Some(TIMEOUT))
            .tls(tls);
        if let Some((user, password)) = &mail.login {
            builder = builder.credentials(Credentials::new(user.clone(), password.clone()));
        }
        Self::Smtp(Box::new(builder.build()))
    }
}

impl Post for Carrier {
    fn send<'a>(
        &'a self,
        message: &'a Message,
    ) -> std::pin::Pin<Box<dyn std::future::Future<Output = Result<(), PostError>> + Send + 'a>>
    {
        Box::pin(self.carry(message))
    }
}

/// Says that nobody need answer (RFC 3834), so that out-of-office notes do not come back.
#[derive(Clone)]
struct Automatic;

impl lettre::message::header::Header for Automatic {
    fn name() -> lettre::message::header::HeaderName {
        lettre::message::header::HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> lettre::message::header::HeaderValue {
        lettre::message::header::HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

fn mailbox(address: &str) -> Result<Mailbox, String> {
    let address: Address = address
        .parse()
        .map_err(|error: lettre::address::AddressError| error.to_string())?;
    Ok(Mailbox::new(None, address))
}

fn tls(mail: &Mail, host: &str) -> Result<TlsParameters, Failure> {
    let unusable = |path: &std::path::Path, why: String| {
        Failure::usage(
            "config-value",
            format!("mail.ca {}: {why}.", path.display()),
        )
        .remedy("Give a file with certificates in PEM form.")
    };
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(path) = &mail.ca {
        let pem = std::fs::read(path).map_err(|error| unusable(path, error.to_string()))?;
        let certificate =
            Certificate::from_pem(&pem).map_err(|error| unusable(path, error.to_string()))?;
        builder = builder.add_root_certificate(certificate);
    }
    builder.build_rustls().map_err(|error| {
        Failure::usage(
            "config-value",
            format!("TLS to the mail server {host} can not be set up: {error}."),
        )
    })
}

/// Why a mail did not go out, without its address. Only a refusal of this very mail is for ever; a refusal of us (login,
/// policy, full queue) is the operator's to mend.
fn fault(error: &lettre::transport::smtp::Error, address: &str) -> PostError {
    let mut why = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(inner) = next {
        let text = inner.to_string();
        if !why.contains(&text) {
            why.push_str(": ");
            why.push_str(&text);
        }
        next = inner.source();
    }
    let why: String = why
        .replace(address, "the address")
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(SHOWN)
        .collect();
    let code = error.status().map(|code| code.to_string());
    match code.as_deref() {
        Some("550" | "551" | "553" | "501" | "556") => PostError::Never(why),
        _ => PostError::Later(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use countersign_registry::model::EmailAddress;
    use countersign_testkit::authority::Authority;
    use countersign_testkit::smtp::{Manners, SmtpServer};

    fn settings(server: MailServer, ca: Option<PathBuf>) -> Mail {
        Mail {
            server,
            from: EmailAddress::parse("no-reply@packages.example.org").unwrap(),
            login: Some(("countersign".to_owned(), "secret".to_owned())),
            ca,
            check_domains: false,
        }
    }

    fn message(to: &str) -> Message {
        Message::new(
            "01-a@packages.example.org".to_owned(),
            EmailAddress::parse(to).unwrap(),
            "A token\r\nBcc: victim@example.org",
            "Ünïcode text\n.\nafter a lone dot\n".to_owned(),
            "<p>html</p>".to_owned(),
        )
    }

    fn manners(starttls: bool) -> Manners {
        Manners {
            starttls,
            login: Some(("countersign".to_owned(), "secret".to_owned())),
            refuse: None,
        }
    }

    fn ca(folder: &std::path::Path) -> Option<PathBuf> {
        let path = folder.join("ca.pem");
        std::fs::write(&path, Authority::of_this_process().unwrap().pem()).unwrap();
        Some(path)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn mail_goes_out_under_tls_with_one_subject_and_one_recipient() {
        let folder = tempfile::tempdir().unwrap();
        let server = SmtpServer::start(manners(true)).unwrap();
        let way = MailServer::StartTls("localhost".to_owned(), server.port());
        let carrier = Carrier::new(&settings(way, ca(folder.path()))).unwrap();
        carrier.send(&message("ann@example.org")).await.unwrap();
        let mail = server.mails().pop().unwrap();
        assert!(mail.under_tls);
        assert_eq!(mail.user.as_deref(), Some("countersign"));
        assert_eq!(mail.to, ["ann@example.org"]);
        assert_eq!(mail.from, "no-reply@packages.example.org");
        assert_eq!(mail.header("Bcc"), None);
        assert_eq!(
            mail.header("Subject").as_deref(),
            Some("A token  Bcc: victim@example.org")
        );
        assert_eq!(
            mail.header("Message-ID").as_deref(),
            Some("<01-a@packages.example.org>")
        );
        assert_eq!(
            mail.header("Auto-Submitted").as_deref(),
            Some("auto-generated")
        );
        assert!(mail.text().contains("after a lone dot"), "{}", mail.text());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_server_that_strips_starttls_or_has_another_certificate_gets_no_mail() {
        let folder = tempfile::tempdir().unwrap();
        let stripped = SmtpServer::start(manners(false)).unwrap();
        let way = MailServer::StartTls("localhost".to_owned(), stripped.port());
        let carrier = Carrier::new(&settings(way, ca(folder.path()))).unwrap();
        let error = carrier.send(&message("ann@example.org")).await.unwrap_err();
        assert!(matches!(error, PostError::Later(_)), "{error:?}");
        let server = SmtpServer::start(manners(true)).unwrap();
        let way = MailServer::StartTls("localhost".to_owned(), server.port());
        let carrier = Carrier::new(&settings(way, None)).unwrap();
        let error = carrier.send(&message("ann@example.org")).await.unwrap_err();
        assert!(matches!(error, PostError::Later(_)), "{error:?}");
        assert!(stripped.mails().is_empty() && server.mails().is_empty());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_refused_address_is_for_ever_and_a_refused_login_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let server = SmtpServer::start(Manners {
            refuse: Some("550 5.1.1 <ann@example.org> is unknown".to_owned()),
            ..manners(true)
        })
        .unwrap();
        let way = MailServer::StartTls("localhost".to_owned(), server.port());
        let carrier = Carrier::new(&settings(way, ca(folder.path()))).unwrap();
        match carrier.send(&message("ann@example.org")).await {
            Err(PostError::Never(why)) => assert!(!why.contains("ann@"), "{why}"),
            other => panic!("{other:?}"),
        }
        server.behave(Manners {
            login: Some(("countersign".to_owned(), "other".to_owned())),
            ..manners(true)
        });
        let error = carrier.send(&message("ann@example.org")).await.unwrap_err();
        assert!(
            matches!(&error, PostError::Later(why) if !why.contains("secret")),
            "{error:?}"
        );
        assert!(server.mails().is_empty());
    }

    #[tokio::test]
    async fn a_folder_takes_one_file_for_each_mail() {
        let folder = tempfile::tempdir().unwrap();
        let way = MailServer::Folder(folder.path().join("mail"));
        let carrier = Carrier::new(&settings(way, None)).unwrap();
        carrier.send(&message("ann@example.org")).await.unwrap();
        let text = std::fs::read_to_string(folder.path().join("mail/01-a.eml")).unwrap();
        assert!(text.contains("To: ann@example.org"), "{text}");
    }
}

//! The key file: PKCS#8 PEM (RFC 5958, RFC 8410), optionally encrypted with PBES2 (RFC 8018), as `openssl pkey` reads it.
//!
//! A key is written once and never overwritten: whatever stands at its path already and is not a key that can be read
//! is refused with the reason.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ed25519_dalek::pkcs8::KeypairBytes;
use pkcs8::der::SecretDocument;
use pkcs8::der::pem::PemLabel;
use pkcs8::{EncodePrivateKey, EncryptedPrivateKeyInfoRef, LineEnding, PrivateKeyInfoRef};
use zeroize::Zeroizing;

use super::Identity;

/// A PKCS#8 Ed25519 key is about 120 bytes as PEM, an encrypted one about 400.
const MAX_FILE: u64 = 16 * 1024;
const PLAIN_LABEL: &str = PrivateKeyInfoRef::PEM_LABEL;
const ENCRYPTED_LABEL: &str = EncryptedPrivateKeyInfoRef::PEM_LABEL;

/// Where the passphrase comes from when a key file is encrypted or is to be.
pub enum PassphraseSource<'a> {
    /// New keys are written unencrypted; an encrypted key cannot be opened.
    None,
    /// Asked for only when it is needed. The argument says whether a new passphrase is being chosen.
    Ask(&'a dyn Fn(bool) -> io::Result<Zeroizing<String>>),
    /// Given beforehand; new keys are encrypted with it.
    Given(Zeroizing<String>),
}

/// What can be wrong with a key file.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    #[error("cannot {action} {path}: {source}")]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("the key file {0} is a symbolic link; a key must be a plain file (move the key itself there)")]
    Symlink(PathBuf),
    #[error("{path} is {found}; a key must be a plain file")]
    NotAFile { path: PathBuf, found: &'static str },
    #[error("the key file {path} has mode {mode:04o}, so others may read it; run: chmod 600 {path}")]
    FileMode { path: PathBuf, mode: u32 },
    #[error("the folder {path} has mode {mode:04o}, so others may enter it; run: chmod 700 {path}")]
    FolderMode { path: PathBuf, mode: u32 },
    #[error("{path} belongs to user {owner}, not to you (user {me})")]
    Owner { path: PathBuf, owner: u32, me: u32 },
    #[error(
        "the key file {path} is not a usable Ed25519 PKCS#8 key: {why}; it was left as it is (restore it from a backup, or move it away to start with a new key)"
    )]
    Content { path: PathBuf, why: String },
    #[error(
        "the key file {0} is encrypted; give its passphrase at the prompt or in the file named by ZEROSTATE_PASSPHRASE_FILE"
    )]
    PassphraseNeeded(PathBuf),
    #[error("the passphrase does not open the key file {0}")]
    WrongPassphrase(PathBuf),
    #[error("cannot read the passphrase: {0}")]
    Passphrase(io::Error),
    #[error("the system gave no randomness for a new key: {0}")]
    Random(String),
}

/// Opens the key at `path`, or makes a new one there when nothing stands at that path.
///
/// The folder is created 0700 and the file 0600; both modes, and the owner, are insisted on for what is there already.
///
/// # Errors
/// See [`KeyFileError`]; a file that cannot be used is never overwritten.
pub fn load_or_create(path: &Path, passphrase: &PassphraseSource<'_>) -> Result<Identity, KeyFileError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    make_folder(folder)?;
    match fs::symlink_metadata(path) {
        Ok(_) => load(path, passphrase),
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(path, folder, passphrase),
        Err(error) => Err(io_error("look at", path)(error)),
    }
}

fn make_folder(folder: &Path) -> Result<(), KeyFileError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(io_error("create the folder", folder))?;
    let meta = fs::metadata(folder).map_err(io_error("look at", folder))?;
    check_owner(folder, &meta)?;
    match meta.permissions().mode() & 0o7777 {
        mode if mode & 0o077 != 0 => Err(KeyFileError::FolderMode { path: folder.into(), mode }),
        _ => Ok(()),
    }
}

fn check_owner(path: &Path, meta: &fs::Metadata) -> Result<(), KeyFileError> {
    let me = rustix::process::geteuid().as_raw();
    if meta.uid() == me {
        Ok(())
    } else {
        Err(KeyFileError::Owner { path: path.into(), owner: meta.uid(), me })
    }
}

fn load(path: &Path, passphrase: &PassphraseSource<'_>) -> Result<Identity, KeyFileError> {
    let pem = read_checked(path)?;
    let foreign = |why: String| KeyFileError::Content { path: path.into(), why };
    let (label, document) =
        SecretDocument::from_pem(&pem).map_err(|error| foreign(format!("not a PEM file ({error})")))?;
    let document = match label {
        PLAIN_LABEL => document,
        ENCRYPTED_LABEL => {
            let phrase =
                ask(passphrase, false)?.ok_or_else(|| KeyFileError::PassphraseNeeded(path.into()))?;
            let sealed = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes())
                .map_err(|error| foreign(format!("a damaged encrypted key ({error})")))?;
            sealed.decrypt(phrase.as_bytes()).map_err(|_| KeyFileError::WrongPassphrase(path.into()))?
        }
        other => return Err(foreign(format!("it holds a \"{other}\", not a \"{PLAIN_LABEL}\""))),
    };
    let pair = KeypairBytes::try_from(document.as_bytes())
        .map_err(|error| foreign(format!("not an Ed25519 key ({error})")))?;
    Ok(Identity::from_secret(&Zeroizing::new(pair.secret_key)))
}

/// Reads the file through one descriptor that was opened without following links, so that what is checked is what is read.
fn read_checked(path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    let flags = (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return Err(KeyFileError::Symlink(path.into()));
        }
        other => other.map_err(io_error("open", path))?,
    };
    let meta = file.metadata().map_err(io_error("look at", path))?;
    if !meta.is_file() {
        let found = if meta.is_dir() { "a folder" } else { "not a plain file" };
        return Err(KeyFileError::NotAFile { path: path.into(), found });
    }
    check_owner(path, &meta)?;
    let mode = meta.permissions().mode() & 0o7777;
    if mode & 0o177 != 0 {
        return Err(KeyFileError::FileMode { path: path.into(), mode });
    }
    if meta.len() > MAX_FILE {
        let why = format!("it has {} bytes, a key has under {MAX_FILE}", meta.len());
        return Err(KeyFileError::Content { path: path.into(), why });
    }
    let mut text = Zeroizing::new(String::new());
    match file.take(MAX_FILE).read_to_string(&mut text) {
        Ok(0) => Err(KeyFileError::Content { path: path.into(), why: "it is empty".into() }),
        Ok(_) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(KeyFileError::Content { path: path.into(), why: "it is not text".into() })
        }
        Err(error) => Err(io_error("read", path)(error)),
    }
}

fn create(path: &Path, folder: &Path, passphrase: &PassphraseSource<'_>) -> Result<Identity, KeyFileError> {
    let identity = Identity::generate()?;
    let broken =
        |error: &dyn std::fmt::Display| KeyFileError::Content { path: path.into(), why: error.to_string() };
    // Version 1 of PKCS#8, without the public key: openssl before 3.5 reads no other.
    let pair = KeypairBytes { secret_key: *identity.secret_bytes(), public_key: None };
    let der = pair.to_pkcs8_der().map_err(|error| broken(&error))?;
    let pem = match ask(passphrase, true)? {
        Some(phrase) if !phrase.is_empty() => {
            encrypt(&der, phrase.as_bytes()).map_err(|error| broken(&error))?
        }
        _ => der.to_pem(PLAIN_LABEL, LineEnding::LF).map_err(|error| broken(&error))?,
    };
    write_new(path, folder, pem.as_bytes())?;
    Ok(identity)
}

fn encrypt(der: &SecretDocument, passphrase: &[u8]) -> Result<Zeroizing<String>, Box<dyn std::error::Error>> {
    let mut salt = [0u8; 16];
    let mut iv = [0u8; 16];
    getrandom::fill(&mut salt)?;
    getrandom::fill(&mut iv)?;
    // scrypt at N=2^14, r=8, p=1 (16 MiB): what `openssl pkcs8 -scrypt` uses; it refuses to spend 32 MiB on reading a key.
    let scrypt = pkcs8::pkcs5::scrypt::Params::new(14, 8, 1)?;
    let parameters = pkcs8::pkcs5::pbes2::Parameters::generate_scrypt_aes256cbc(scrypt, &salt, iv)?;
    let sealed = PrivateKeyInfoRef::try_from(der.as_bytes())?.encrypt_with_params(parameters, passphrase)?;
    Ok(sealed.to_pem(ENCRYPTED_LABEL, LineEnding::LF)?)
}

/// Temporary file, sync, link, sync of the folder: a crash leaves either no key or a whole one, and linking (unlike
/// renaming) fails when somebody else has put a key there meanwhile.
fn write_new(path: &Path, folder: &Path, content: &[u8]) -> Result<(), KeyFileError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = folder.join(format!(".{name}.{}", std::process::id()));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::hard_link(&temporary, path)
    })();
    let cleaned = match fs::remove_file(&temporary) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    written
        .and(cleaned)
        .and_then(|()| File::open(folder)?.sync_all())
        .map_err(io_error("write the key file", path))
}

fn ask(source: &PassphraseSource<'_>, new: bool) -> Result<Option<Zeroizing<String>>, KeyFileError> {
    match source {
        PassphraseSource::None => Ok(None),
        PassphraseSource::Given(phrase) => Ok(Some(phrase.clone())),
        PassphraseSource::Ask(_) if new => Ok(None),
        PassphraseSource::Ask(prompt) => prompt(new).map(Some).map_err(KeyFileError::Passphrase),
    }
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeyFileError {
    let path = path.to_path_buf();
    move |source| KeyFileError::Io { action, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        dir
    }

    #[test]
    fn a_new_key_is_private_and_opens_again_as_the_same() {
        let dir = folder();
        let path = dir.path().join("deep").join("key.pem");
        let made = load_or_create(&path, &PassphraseSource::None).unwrap();
        let again = load_or_create(&path, &PassphraseSource::None).unwrap();
        assert_eq!(made.did(), again.did());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn an_encrypted_key_opens_with_its_passphrase_alone() {
        let dir = folder();
        let path = dir.path().join("key.pem");
        let given = |text: &str| PassphraseSource::Given(Zeroizing::new(text.to_owned()));
        let made = load_or_create(&path, &given("correct horse")).unwrap();
        assert!(fs::read_to_string(&path).unwrap().starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
        assert_eq!(load_or_create(&path, &given("correct horse")).unwrap().did(), made.did());
        assert!(matches!(load_or_create(&path, &given("wrong")), Err(KeyFileError::WrongPassphrase(_))));
        assert!(matches!(
            load_or_create(&path, &PassphraseSource::None),
            Err(KeyFileError::PassphraseNeeded(_))
        ));
    }

    #[test]
    fn openssl_reads_both_kinds_of_key() {
        if std::process::Command::new("openssl").arg("version").output().is_err() {
            eprintln!("skipped: openssl is not installed");
            return;
        }
        for phrase in ["", "s3cret"] {
            let dir = folder();
            let path = dir.path().join("key.pem");
            let made =
                load_or_create(&path, &PassphraseSource::Given(Zeroizing::new(phrase.into()))).unwrap();
            let shown = std::process::Command::new("openssl")
                .args(["pkey", "-passin", "pass:s3cret", "-pubout", "-outform", "DER", "-in"])
                .arg(&path)
                .output()
                .unwrap();
            assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
            assert!(shown.stdout.ends_with(&made.public_key()), "openssl sees another key");
        }
    }

    #[test]
    fn what_is_not_a_private_plain_key_file_is_refused_and_left_alone() {
        let dir = folder();
        let path = dir.path().join("key.pem");
        let refused = |path: &Path| load_or_create(path, &PassphraseSource::None).unwrap_err();
        load_or_create(&path, &PassphraseSource::None).unwrap();
        let whole = fs::read(&path).unwrap();

        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(refused(&path), KeyFileError::FileMode { mode: 0o644, .. }));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();

        let link = dir.path().join("link.pem");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(refused(&link), KeyFileError::Symlink(_)));
        let dangling = dir.path().join("dangling.pem");
        std::os::unix::fs::symlink(dir.path().join("nowhere"), &dangling).unwrap();
        assert!(matches!(refused(&dangling), KeyFileError::Symlink(_)));

        let inner = dir.path().join("folder.pem");
        fs::create_dir(&inner).unwrap();
        assert!(matches!(refused(&inner), KeyFileError::NotAFile { .. }));

        let foreign: [&[u8]; 5] = [
            b"",
            &whole[..whole.len() / 2],
            b"\xff\xfe\x00",
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            b"just some notes\n",
        ];
        for content in foreign {
            fs::write(&path, content).unwrap();
            assert!(matches!(refused(&path), KeyFileError::Content { .. }), "{content:?}");
            assert_eq!(fs::read(&path).unwrap(), content, "never overwritten");
        }

        fs::write(&path, &whole).unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(refused(&path), KeyFileError::FolderMode { mode: 0o755, .. }));
    }
}

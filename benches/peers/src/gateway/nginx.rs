//! nginx, as the S3 service and as the proxy that the gateway is compared with; see `../../nginx`.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc_fast::{CrcAlgorithm, checksum};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::load::Size;
use crate::Result;
use crate::content::{BUCKET, Content, key};

/// A running nginx with a directory of its own. It ends when this is dropped.
pub(super) struct Nginx {
    child: Child,
    pub(super) address: SocketAddr,
    directory: TempDir,
}

/// Where the files of this comparison are.
fn files() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("nginx")
}

impl Nginx {
    /// The S3 service, with the objects that clients get.
    pub(super) fn store() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let prefix = directory.path();
        let data = prefix.join("objects").join(BUCKET).join("data");
        std::fs::create_dir_all(data)?;
        let mut list = String::new();
        let objects = Size::ALL.into_iter().flat_map(|size| size.numbers().map(move |index| (index, size.bytes())));
        for (index, size) in objects {
            let bytes = Content::whole(index, size)?;
            let (key, crc) = (key(index), checksum(CrcAlgorithm::Crc64Nvme, &bytes).to_be_bytes());
            std::fs::write(prefix.join("objects").join(BUCKET).join(&key), bytes)?;
            list.push_str(&format!("/{BUCKET}/{key} {} {index:032x}\n", STANDARD.encode(crc)));
        }
        std::fs::write(prefix.join("objects.list"), list)?;
        std::fs::write(prefix.join("keys"), "")?;
        let modules = ["ndk_http_module.so", "ngx_http_lua_module.so"]
            .map(|name| format!("load_module /usr/lib/nginx/modules/{name};"))
            .join("\n");
        let lua = files().display().to_string();
        Self::start(directory, "store.conf", &["locations.conf"], &[("LOAD_MODULES", modules), ("LUA", lua)])
    }

    /// The proxy in front of it.
    pub(super) fn proxy(store: &Self) -> Result<Self> {
        let values = [("STORE", store.address.port().to_string()), ("BUCKET", BUCKET.to_owned())];
        Self::start(tempfile::tempdir()?, "proxy.conf", &[], &values)
    }

    fn start(directory: TempDir, main: &str, others: &[&str], values: &[(&str, String)]) -> Result<Self> {
        let prefix = directory.path();
        std::fs::create_dir(prefix.join("tmp"))?;
        std::fs::create_dir(prefix.join("stored"))?;
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        // As root, its workers would be nobody.
        let user = if nix::unistd::geteuid().is_root() { "user root;" } else { "" };
        for name in others.iter().chain([&main]) {
            let mut text = std::fs::read_to_string(files().join(format!("{name}.in")))?;
            for (key, value) in values {
                text = text.replace(&format!("@{key}@"), value);
            }
            text = text.replace("@PREFIX@", &prefix.display().to_string());
            text = text.replace("@PORT@", &address.port().to_string()).replace("@USER@", user);
            std::fs::write(prefix.join(name), text)?;
        }
        let log = prefix.join("error.log");
        let child = Command::new("nginx")
            .arg("-p")
            .arg(prefix)
            .arg("-c")
            .arg(prefix.join(main))
            .arg("-e")
            .arg(&log)
            .stdin(Stdio::null())
            .spawn()
            .map_err(|error| format!("nginx: {error}"))?;
        let mut nginx = Self { child, address, directory };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(address).is_err() {
            if nginx.child.try_wait()?.is_some() || Instant::now() > deadline {
                let log = std::fs::read_to_string(&log).unwrap_or_default();
                return Err(format!("nginx does not answer: {log}").into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(nginx)
    }

    /// It and its workers.
    pub(super) fn processes(&self) -> Result<Vec<u32>> {
        let id = self.child.id();
        let workers = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        let workers = workers.split_ascii_whitespace().map(str::parse).collect::<Result<Vec<u32>, _>>()?;
        Ok([id].into_iter().chain(workers).collect())
    }

    /// Uploads in parts that were begun, and those that were completed or aborted.
    pub(super) fn uploads(&self) -> Result<(usize, usize)> {
        let log = std::fs::read_to_string(self.directory.path().join("uploads.log"))?;
        let (mut begun, mut ended) = (0, 0);
        for line in log.lines() {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["POST", "200", uri] if !uri.contains("uploadId=") => begun += 1,
                ["POST", "200", _] | ["DELETE", "204", _] => ended += 1,
                _ => return Err(format!("the S3 service has answered: {line}").into()),
            }
        }
        Ok((begun, ended))
    }

    /// Of the objects that were stored by one request, those that are not as long as their names say.
    pub(super) fn torn(&self) -> Result<Vec<PathBuf>> {
        let mut torn = Vec::new();
        let mut directories = vec![self.directory.path().join("stored")];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory)? {
                let entry = entry?;
                let name = entry.file_name().into_string().unwrap_or_default();
                match Size::of_name(&name) {
                    Some(size) if entry.file_type()?.is_file() && entry.metadata()?.len() != size.bytes() => {
                        torn.push(entry.path());
                    }
                    // Of parts, where a name has a size.
                    Some(_) => {}
                    None if entry.file_type()?.is_dir() => directories.push(entry.path()),
                    None => {}
                }
            }
        }
        Ok(torn)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its workers end with it, which they would not if it were killed.
        if let Ok(id) = i32::try_from(self.child.id()) {
            let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
        }
        let _ = self.child.wait();
    }
}

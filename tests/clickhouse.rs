//! Debian's ClickHouse server with a configuration of its own, on loopback.

mod cluster;

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

pub use self::cluster::Cluster;
use crate::{need, netns::Namespace, peer, program, wait_until};

const START_DEADLINE: Duration = Duration::from_secs(30);

/// A server; it goes with its data when dropped.
#[derive(Debug)]
pub struct Server {
    directory: PathBuf,
    /// Goes with everything in it.
    _temporary: Option<TempDir>,
    ports: Ports,
    /// Name of the namespace that it is in, if that is not this process's.
    namespace: Option<String>,
    process: Option<Child>,
}

/// Ports of a server on 127.0.0.1.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// HTTP.
    pub http: u16,
    /// Between servers.
    pub native: u16,
    /// Between replicas.
    pub replicas: u16,
}

impl Ports {
    /// Ports that nobody uses now.
    ///
    /// # Errors
    /// When there are none.
    pub fn free() -> Result<Self> {
        let held = [
            TcpListener::bind("127.0.0.1:0")?,
            TcpListener::bind("127.0.0.1:0")?,
            TcpListener::bind("127.0.0.1:0")?,
        ];
        Ok(Self {
            http: held[0].local_addr()?.port(),
            native: held[1].local_addr()?.port(),
            replicas: held[2].local_addr()?.port(),
        })
    }
}

impl Server {
    /// Starts a server.
    ///
    /// # Errors
    /// When it does not answer in time.
    pub fn start() -> Result<Self> {
        Self::with(Ports::free()?, None, "")
    }

    /// Starts a server whose data stays in `directory`, and is used again by the next.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_in(directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory)?;
        let directory = directory.canonicalize()?;
        let ports = Ports::free()?;
        configure(&directory, ports, "127.0.0.1", "")?;
        let mut server = Self {
            directory,
            _temporary: None,
            ports,
            namespace: None,
            process: None,
        };
        server.resume()?;
        Ok(server)
    }

    /// Starts a server that also speaks TLS, with these files; beside it the port of that.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_with_tls(certificate: &Path, key: &Path) -> Result<(Self, u16)> {
        let port = Ports::free()?.http;
        let more = format!(
            "<https_port>{port}</https_port><openSSL><server>\
             <certificateFile>{}</certificateFile><privateKeyFile>{}</privateKeyFile>\
             <verificationMode>none</verificationMode></server></openSSL>",
            certificate.display(),
            key.display()
        );
        Ok((Self::with(Ports::free()?, None, &more)?, port))
    }

    /// Starts a server inside a namespace, where it listens on all addresses.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_within(namespace: &Namespace) -> Result<Self> {
        Self::with(Ports::free()?, Some(namespace.name()), "")
    }

    fn with(ports: Ports, namespace: Option<&str>, more: &str) -> Result<Self> {
        let mut server = Self::prepare(ports, namespace, more)?;
        server.resume()?;
        Ok(server)
    }

    /// A server with `more` in its configuration, which does not run yet.
    fn prepare(ports: Ports, namespace: Option<&str>, more: &str) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let listen = if namespace.is_some() {
            "0.0.0.0"
        } else {
            "127.0.0.1"
        };
        configure(directory.path(), ports, listen, more)?;
        Ok(Self {
            directory: directory.path().to_owned(),
            _temporary: Some(directory),
            ports,
            namespace: namespace.map(str::to_owned),
            process: None,
        })
    }

    /// Starts the server again, with its data and its ports.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn resume(&mut self) -> Result<()> {
        self.spawn()?;
        self.wait()
    }

    fn spawn(&mut self) -> Result<()> {
        let root = need::tools().join("clickhouse");
        let libraries: Vec<_> = ["usr/lib", "lib"]
            .iter()
            .map(|lib| root.join(lib).join(triplet()).display().to_string())
            .collect();
        let server = root.join("usr/sbin/clickhouse-server");
        let child = peer::command(self.namespace.as_deref(), server)
            .arg("--config-file=config.xml")
            .current_dir(&self.directory)
            .env("LD_LIBRARY_PATH", libraries.join(":"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start clickhouse-server")?;
        self.process = Some(child);
        Ok(())
    }

    fn wait(&self) -> Result<()> {
        let ready = || self.query("SELECT 1").is_ok();
        wait_until("clickhouse-server", START_DEADLINE, ready)
    }

    /// A program where the server is. The process is the program itself: `ip` replaces itself.
    fn command(&self, program: &Path) -> Command {
        let Some(namespace) = &self.namespace else {
            return Command::new(program);
        };
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace]).arg(program);
        command
    }

    /// Runs `traffic ARGS` where the server is, to its end.
    ///
    /// # Errors
    /// When it cannot start.
    pub fn traffic(&self, args: &[&str]) -> Result<Output> {
        let mut command = self.command(&program::binary());
        let output = command.args(args).stdin(Stdio::null()).output();
        output.context("run traffic")
    }

    /// Kills the server as a power failure would.
    ///
    /// # Errors
    /// When it has ended before.
    pub fn kill(&mut self) -> Result<()> {
        let mut process = self.process.take().context("the server runs")?;
        process.kill()?;
        process.wait()?;
        Ok(())
    }

    /// Stops (`false`) the server where it is, as if it were very slow, or lets it go on.
    ///
    /// # Errors
    /// When it has ended before.
    pub fn set_running(&self, running: bool) -> Result<()> {
        let process = self.process.as_ref().context("the server runs")?;
        let pid = Pid::from_raw(i32::try_from(process.id())?);
        let signal = if running {
            Signal::SIGCONT
        } else {
            Signal::SIGSTOP
        };
        Ok(kill(pid, signal)?)
    }

    /// Its ports.
    #[must_use]
    pub const fn ports(&self) -> Ports {
        self.ports
    }

    /// The address of one of its databases.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("clickhouse://127.0.0.1:{}/{database}", self.ports.http)
    }

    /// Runs a statement; its answer as lines with tabs.
    ///
    /// # Errors
    /// When the server does not answer, or answers with an exception.
    pub fn query(&self, sql: &str) -> Result<String> {
        let output = self
            .command(Path::new("curl"))
            .args([
                "--silent",
                "--show-error",
                "--fail-with-body",
                "--data-binary",
                sql,
            ])
            .arg(format!("http://127.0.0.1:{}/", self.ports.http))
            .output()
            .context("run curl")?;
        let answer = String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned();
        ensure!(output.status.success(), "{sql}: {answer}");
        Ok(answer)
    }

    /// Runs a query whose answer is one number.
    ///
    /// # Errors
    /// As [`Server::query`], and when it is none.
    pub fn number(&self, sql: &str) -> Result<u64> {
        let answer = self.query(sql)?;
        answer.parse().with_context(|| format!("{sql}: {answer}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // Both fail when it has ended by itself.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Where the module `chdb` of Python is, for tests with [`crate::Need::Chdb`].
#[must_use]
pub fn chdb() -> PathBuf {
    need::tools().join("chdb")
}

/// The folder of libraries for this machine.
fn triplet() -> PathBuf {
    format!("{}-linux-gnu", std::env::consts::ARCH).into()
}

fn configure(directory: &Path, ports: Ports, listen: &str, more: &str) -> Result<()> {
    let here = directory.display();
    let config = format!(
        "<yandex><logger><level>warning</level><log>{here}/log</log>\
         <errorlog>{here}/errors</errorlog></logger>\
         <http_port>{}</http_port><tcp_port>{}</tcp_port>\
         <interserver_http_port>{}</interserver_http_port>\
         <interserver_http_host>127.0.0.1</interserver_http_host><listen_host>{listen}</listen_host>\
         <path>{here}/data/</path><tmp_path>{here}/tmp/</tmp_path>\
         <users_config>users.xml</users_config><default_profile>default</default_profile>\
         <default_database>default</default_database><mark_cache_size>67108864</mark_cache_size>\
         <timezone>UTC</timezone>{more}</yandex>",
        ports.http, ports.native, ports.replicas
    );
    let users = "<yandex><profiles><default/></profiles><users>\
         <default><password></password><networks><ip>::/0</ip></networks>\
         <profile>default</profile><quota>default</quota></default>\
         <agent><password>secret</password><networks><ip>::/0</ip></networks>\
         <profile>default</profile><quota>default</quota></agent></users>\
         <quotas><default/></quotas></yandex>";
    fs::write(directory.join("config.xml"), config)?;
    fs::write(directory.join("users.xml"), users)?;
    Ok(())
}

//! Debian's ZooKeeper, through which replicas of a table know each other.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Stdio},
};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::{need, peer};

/// What it is made of, below `usr/share/java`.
const JARS: [&str; 6] = [
    "zookeeper",
    "zookeeper-jute",
    "metrics-core",
    "slf4j-api",
    "slf4j-simple",
    "snappy-java",
];

/// A keeper; it goes with its data when dropped.
#[derive(Debug)]
pub struct Keeper {
    process: Child,
    port: u16,
    /// Goes with everything in it.
    _directory: TempDir,
}

impl Keeper {
    /// Starts one on this port of 127.0.0.1, in a namespace of this name or in this process's. It
    /// is there when a server reaches it.
    pub(crate) fn start(port: u16, namespace: Option<&str>) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("zoo.cfg");
        let configuration = format!(
            "dataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\ntickTime=500\n\
             admin.enableServer=false\n",
            directory.path().display()
        );
        fs::write(&file, configuration)?;
        let process = peer::command(namespace, "java")
            .args(["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
            .arg("-cp")
            .arg(JARS.map(|name| jar(name).display().to_string()).join(":"))
            .arg("org.apache.zookeeper.server.ZooKeeperServerMain")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start ZooKeeper")?;
        Ok(Self {
            process,
            port,
            _directory: directory,
        })
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

fn jar(name: &str) -> PathBuf {
    let jars = need::tools().join("zookeeper/usr/share/java");
    jars.join(format!("{name}.jar"))
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // Both fail when it has ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

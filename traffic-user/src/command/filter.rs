//! Filter expressions from the command line, and the programs they become.

use std::{
    fs,
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use traffic_ebpf::config::{LINK_ETHERNET, LINK_IP};

use super::UsageError;
use crate::{
    capture_file::{FileFrame, LinkType},
    cli::FilterArgs,
    filter::{self, CompileError, Program, Translated},
};

/// The expression that the arguments give; `None` without one, and for an empty one.
///
/// # Errors
/// When the file that holds it cannot be read.
pub(super) fn expression(words: &[String], args: &FilterArgs) -> Result<Option<String>> {
    let text = match (&args.expression, &args.filter_file) {
        (Some(expression), _) => expression.clone(),
        (None, Some(path)) => fs::read_to_string(path)
            .with_context(|| format!("read the filter in {}", path.display()))?,
        (None, None) => words.join(" "),
    };
    let text = text.trim();
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

/// Compiles an expression.
///
/// # Errors
/// A usage error with libpcap's words when it refuses.
pub(super) fn compile(expression: &str, link_type: LinkType) -> Result<Program> {
    filter::compile(expression, link_type).map_err(|error| match error {
        CompileError::Refused { .. } | CompileError::Direction => {
            let link = if link_type == LinkType::ETHERNET {
                String::new()
            } else {
                format!(" for link type {link_type}")
            };
            UsageError(format!("filter '{expression}'{link}: {error}")).into()
        }
        CompileError::Invalid(_) | CompileError::Instruction(_) | CompileError::Handle(_) => {
            anyhow::Error::new(error).context(format!("compile the filter '{expression}'"))
        }
    })
}

/// A filter for live frames: a program for each link type of the interfaces.
pub(super) struct LiveFilter(Vec<(LinkType, Program)>);

impl LiveFilter {
    /// Compiles an expression for the link types of interfaces, in which repetitions are allowed.
    ///
    /// # Errors
    /// When it does not compile for one of them.
    pub(super) fn new(
        expression: &str,
        link_types: impl Iterator<Item = LinkType>,
    ) -> Result<Self> {
        let mut programs: Vec<(LinkType, Program)> = Vec::new();
        for link_type in link_types {
            if programs.iter().all(|(known, _)| *known != link_type) {
                programs.push((link_type, compile(expression, link_type)?));
            }
        }
        Ok(Self(programs))
    }

    /// The kernel's form.
    ///
    /// # Errors
    /// When it is too long.
    pub(super) fn translate(&self) -> Result<Translated> {
        let programs = self.0.iter().map(|(link_type, program)| {
            let link = if *link_type == LinkType::ETHERNET {
                LINK_ETHERNET
            } else {
                LINK_IP
            };
            (link, program)
        });
        Ok(filter::translate(&programs.collect::<Vec<_>>())?)
    }

    /// Prints the classic program of each link type, then the eBPF instructions.
    ///
    /// # Errors
    /// When stdout refuses, or the filter is too long.
    pub(super) fn dump(&self) -> Result<ExitCode> {
        let mut out = io::stdout().lock();
        for (link_type, program) in &self.0 {
            if self.0.len() > 1 {
                writeln!(out, "link-type {link_type}:")?;
            }
            write!(out, "{program}")?;
        }
        let translated = self.translate()?;
        writeln!(
            out,
            "eBPF, {} instructions, reads {} bytes of a frame:",
            translated.instructions.len(),
            translated.frame_bytes
        )?;
        for (index, instruction) in translated.instructions.iter().enumerate() {
            writeln!(out, "{index:>5}: {instruction}")?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A filter for stored frames: a program for each link type.
///
/// All of them are compiled before anything is read: that looks up names of hosts and ports, which a
/// process that has given up its privileges may not do.
pub(super) struct FileFilter(Option<Compiled>);

/// An expression, and for every link type that can be read its program, or why there is none.
struct Compiled {
    expression: String,
    programs: Vec<(LinkType, Result<Program, UsageError>)>,
}

impl FileFilter {
    /// `None` takes every frame.
    ///
    /// # Errors
    /// When the expression compiles for no link type: why not for Ethernet. When it names a host
    /// that is unknown.
    pub(super) fn new(expression: Option<String>) -> Result<Self> {
        Ok(Self(expression.map(Compiled::new).transpose()?))
    }

    /// The expression, if there is one.
    pub(super) fn expression(&self) -> Option<&str> {
        self.0.as_ref().map(|compiled| compiled.expression.as_str())
    }

    /// Whether the filter takes a frame.
    ///
    /// # Errors
    /// When the expression does not compile for the frame's link type.
    pub(super) fn takes(&self, frame: &FileFrame<'_>) -> Result<bool> {
        let Some(compiled) = &self.0 else {
            return Ok(true);
        };
        let program = compiled.program(frame.link_type)?;
        Ok(program.matches(frame.data, frame.wire_len))
    }

    /// Says whether frames of a link type can be filtered, also where there are none. Types that
    /// cannot be read have no frames to filter.
    ///
    /// # Errors
    /// When the expression does not compile for it.
    pub(super) fn check(&self, link_type: LinkType) -> Result<()> {
        match &self.0 {
            Some(compiled) if link_type.is_readable() => compiled.program(link_type).map(drop),
            _ => Ok(()),
        }
    }
}

impl Compiled {
    fn new(expression: String) -> Result<Self> {
        let mut programs = Vec::new();
        for link_type in LinkType::readable() {
            let program = match compile(&expression, link_type) {
                Ok(program) => Ok(program),
                Err(error) => Err(error.downcast::<UsageError>()?),
            };
            if let Err(UsageError(reason)) = &program
                && reason.contains("unknown host")
            {
                // It is so for every link type, and to ask again may take long.
                return Err(UsageError(reason.clone()).into());
            }
            programs.push((link_type, program));
        }
        let compiled = Self {
            expression,
            programs,
        };
        if compiled
            .programs
            .iter()
            .all(|(_, program)| program.is_err())
        {
            compiled.program(LinkType::ETHERNET)?;
        }
        Ok(compiled)
    }

    /// The program for a link type.
    ///
    /// # Errors
    /// When the expression does not compile for it.
    fn program(&self, link_type: LinkType) -> Result<&Program> {
        let mut programs = self.programs.iter();
        match programs.find(|(known, _)| *known == link_type) {
            Some((_, Ok(program))) => Ok(program),
            Some((_, Err(UsageError(reason)))) => Err(UsageError(reason.clone()).into()),
            None => Err(UsageError(format!("frames of link type {link_type} are not read")).into()),
        }
    }
}

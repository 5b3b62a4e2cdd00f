//! Arguments about privileges, and about the rights of others.

use clap::Args;

/// What is given up.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct SandboxArgs {
    /// Keep privileges and system calls that are not needed any more. For trouble only: a fault
    /// in reading packets is then worth more to an attacker.
    #[arg(long)]
    pub no_sandbox: bool,
}

/// Who may read what is written.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct FileModeArgs {
    /// Who may read and write files that are made, as an octal number: 600 is their owner alone,
    /// 640 also lets the group read.
    #[arg(long, value_name = "MODE", default_value = "600", value_parser = parse_mode)]
    pub file_mode: u32,
}

/// Reads `600`, `0640`.
fn parse_mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).map_err(|_| format!("{text} is no octal number"))?;
    if mode & !0o666 == 0 && mode & 0o600 == 0o600 {
        return Ok(mode);
    }
    Err(
        "a mode has 6 for the owner and 0, 2, 4 or 6 for group and others (example: 640)"
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_let_the_owner_read_and_write() {
        assert_eq!(parse_mode("600"), Ok(0o600));
        assert_eq!(parse_mode("0644"), Ok(0o644));
        for wrong in ["", "9", "0", "440", "755", "4600", "-600"] {
            assert!(parse_mode(wrong).is_err(), "{wrong}");
        }
    }
}

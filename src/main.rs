//! The `xd` program: reads its arguments, runs a verb, and maps the result to an exit status.

use std::process::ExitCode;

fn main() -> ExitCode {
    xd::cli::main()
}

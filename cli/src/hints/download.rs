//! The errors of a download, in the words of the command line.

use engine::bytes::format_bytes;

/// The line for a download that failed.
pub(crate) fn download(error: &hub::Error) -> String {
    use hub::Error;
    let advice = match error {
        Error::Endpoint(address) => {
            return format!("HF_ENDPOINT is '{address}': it must begin with http:// or https://");
        }
        Error::Offline => return "HF_HUB_OFFLINE is set: unset it to download".to_owned(),
        Error::Occupied {
            path,
            found,
            expected,
        } => {
            // With the exact numbers, since two sizes may round to the same.
            return format!(
                "{} is there with {found} bytes ({}), and the published file has {expected} bytes \
                 ({}): move it away, or name another folder with --models",
                path.display(),
                format_bytes(*found),
                format_bytes(*expected)
            );
        }
        Error::Cancelled => {
            return "interrupted; run the same command again to go on from here".to_owned();
        }
        Error::Unreachable { .. } => {
            "; check the network, the proxy (HTTPS_PROXY) or the mirror (HF_ENDPOINT), and run the \
             same command again to go on from here"
        }
        Error::Unauthorized { .. } => "; set HF_TOKEN to a token that may read it",
        Error::Forbidden { .. } => ", and set HF_TOKEN to a token of that account",
        Error::NoFile { .. } => {
            ": try another --variant, or put a file of that kind into the models folder by hand"
        }
        Error::Checksum { .. } => ", so that the same command downloads it anew",
        Error::Token { .. }
        | Error::NoRepository { .. }
        | Error::Status { .. }
        | Error::Answer { .. }
        | Error::Busy { .. }
        | Error::Write { .. }
        | Error::Read { .. } => "",
    };
    format!("{error}{advice}")
}

#[cfg(test)]
mod tests {
    use hub::Error;

    use crate::error::CliError;
    use crate::exit::ExitCode;

    #[test]
    fn a_failed_download_says_what_to_do() {
        let url = || "http://h/api".to_owned();
        let place = || "http://h/o/n".to_owned();
        for (error, code, parts) in [
            (
                Error::Unauthorized { place: place() },
                ExitCode::Failure,
                &["http://h/o/n answers 401", "set HF_TOKEN"][..],
            ),
            (
                Error::Forbidden { place: place() },
                ExitCode::Failure,
                &["http://h/o/n answers 403", "terms", "HF_TOKEN"],
            ),
            (
                Error::NoRepository { place: place() },
                ExitCode::BadModel,
                &["http://h/o/n answers 404", "renamed"],
            ),
            (
                Error::Status {
                    url: url(),
                    status: 500,
                },
                ExitCode::Failure,
                &["http://h/api answers 500", "try again"],
            ),
            (
                Error::NoFile {
                    place: place(),
                    path: "a/b".to_owned(),
                    there: vec!["c".to_owned()],
                },
                ExitCode::BadModel,
                &["http://h/o/n has no file a/b (that folder has c): try another --variant"],
            ),
            (
                Error::Answer {
                    url: url(),
                    reason: "no list".to_owned(),
                },
                ExitCode::Failure,
                &["http://h/api: no list"],
            ),
            (
                Error::Occupied {
                    path: "a".into(),
                    found: 4,
                    expected: 1 << 30,
                },
                ExitCode::BadModel,
                &[
                    "a is there with 4 bytes (4 B), and the published file has 1073741824 bytes \
                     (1.00 GiB): move it away, or name another folder with --models",
                ],
            ),
            (
                Error::Busy { path: "a".into() },
                ExitCode::Failure,
                &["a is being downloaded by another process"],
            ),
            (
                Error::Cancelled,
                ExitCode::Interrupted,
                &["interrupted; run the same command again"],
            ),
        ] {
            let error = CliError::from(error);
            assert_eq!(error.exit_code(), code, "{error}");
            for part in parts {
                assert!(error.to_string().contains(part), "no `{part}` in: {error}");
            }
        }
    }
}

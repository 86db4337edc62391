//! Environment variables that stand for flags, and the folders that they name.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use backends::{GpuSign, Surroundings};

/// For tests: a folder that is looked through for signs of a GPU instead of the machine's root.
const ROOT_VARIABLE: &str = "QWEN_IMAGE_TEST_ROOT";

/// Looks variables up.
#[derive(Clone, Copy)]
pub(crate) struct Environment<'a>(pub(crate) &'a dyn Fn(&str) -> Option<OsString>);

impl Environment<'static> {
    /// That of this process. A process without HOME, as some that cron starts, has the home folder
    /// that the system knows of its user.
    pub(crate) fn of_process() -> Self {
        Self(&|name| {
            let value = std::env::var_os(name);
            value.or_else(|| match name {
                "HOME" => Some(std::env::home_dir()?.into_os_string()),
                _ => None,
            })
        })
    }
}

impl Environment<'_> {
    /// A variable's value. An empty variable is one that is not set.
    pub(crate) fn get(self, name: &str) -> Option<OsString> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    /// The folder in QWEN_IMAGE_MODELS.
    pub(crate) fn models_variable(self) -> Option<PathBuf> {
        self.get("QWEN_IMAGE_MODELS").map(PathBuf::from)
    }

    /// The folder that `download` puts models into: `qwen-image-burn/models` in the user's data
    /// folder.
    pub(crate) fn models_folder(self) -> Option<PathBuf> {
        Some(self.data_folder()?.join("qwen-image-burn").join("models"))
    }

    /// The user's data folder: XDG_DATA_HOME, or the system's own.
    fn data_folder(self) -> Option<PathBuf> {
        if let Some(folder) = self.absolute("XDG_DATA_HOME") {
            return Some(folder);
        }
        if cfg!(windows) {
            return self.absolute("APPDATA");
        }
        let place = if cfg!(target_os = "macos") {
            "Library/Application Support"
        } else {
            ".local/share"
        };
        Some(self.home()?.join(place))
    }

    /// The user's folder for what a program remembers from run to run: XDG_STATE_HOME, or the
    /// system's own.
    pub(crate) fn state_folder(self) -> Option<PathBuf> {
        if let Some(folder) = self.absolute("XDG_STATE_HOME") {
            return Some(folder);
        }
        if cfg!(windows) {
            return self.absolute("LOCALAPPDATA");
        }
        let place = if cfg!(target_os = "macos") {
            "Library/Application Support"
        } else {
            ".local/state"
        };
        Some(self.home()?.join(place))
    }

    /// The folder of huggingface_hub: HF_HOME, or `huggingface` in the cache folder.
    pub(crate) fn hub_home(self) -> Option<PathBuf> {
        let given = self.get("HF_HOME").map(PathBuf::from);
        // The same on every system, as huggingface_hub has it.
        let cache = || {
            let given = self.absolute("XDG_CACHE_HOME");
            let folder = given.or_else(|| Some(self.home()?.join(".cache")))?;
            Some(folder.join("huggingface"))
        };
        given.or_else(cache)
    }

    /// The cache folder of huggingface_hub: HF_HUB_CACHE, or `hub` in its home.
    pub(crate) fn hub_cache(self) -> Option<PathBuf> {
        let given = self.get("HF_HUB_CACHE").map(PathBuf::from);
        given.or_else(|| Some(self.hub_home()?.join("hub")))
    }

    /// Signs of a GPU on this machine.
    pub(crate) fn gpu_signs(self) -> Vec<GpuSign> {
        let root = self.get(ROOT_VARIABLE).map(PathBuf::from);
        backends::gpu_signs(Surroundings {
            root: root.as_deref().unwrap_or(Path::new("/")),
            variable: self.0,
        })
    }

    fn home(self) -> Option<PathBuf> {
        self.absolute(if cfg!(windows) { "USERPROFILE" } else { "HOME" })
    }

    /// A folder; one that is not absolute is no folder of the user's.
    fn absolute(self, name: &str) -> Option<PathBuf> {
        let folder = PathBuf::from(self.get(name)?);
        Path::is_absolute(&folder).then_some(folder)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::ffi::OsString;
    use std::path::PathBuf;

    use super::Environment;

    fn folders(variables: &[(&str, &str)]) -> [Option<PathBuf>; 2] {
        let look_up = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        let environment = Environment(&look_up);
        [environment.models_folder(), environment.hub_cache()]
    }

    #[test]
    fn folders_follow_the_variables_that_name_them() {
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(folders(&[]), [None, None]);
        assert_eq!(
            folders(&[("HOME", "/h"), ("XDG_DATA_HOME", "relative")]),
            [
                path("/h/.local/share/qwen-image-burn/models"),
                path("/h/.cache/huggingface/hub"),
            ]
        );
        let set = [
            ("HOME", "/h"),
            ("XDG_DATA_HOME", "/d"),
            ("XDG_CACHE_HOME", "/c"),
        ];
        assert_eq!(
            folders(&set),
            [
                path("/d/qwen-image-burn/models"),
                path("/c/huggingface/hub")
            ]
        );
        assert_eq!(folders(&[("HF_HOME", "hf")])[1], path("hf/hub"));
        let both = [("HF_HOME", "hf"), ("HF_HUB_CACHE", "/x")];
        assert_eq!(folders(&both)[1], path("/x"));
    }
}

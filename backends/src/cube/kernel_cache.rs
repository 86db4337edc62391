//! The folder in which compiled kernels are kept between runs: `qwen-image-burn` in the user's
//! cache folder.

use std::path::PathBuf;
use std::sync::Once;

use burn_cubecl::cubecl::config::cache::CacheConfig;
use burn_cubecl::cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};

/// The folder, if the system names one for caches. It may not exist yet.
pub(crate) fn folder() -> Option<PathBuf> {
    dirs::cache_dir().map(|dir| dir.join("qwen-image-burn"))
}

/// Makes CubeCL keep the kernels that it compiles and the choices that it tunes. CubeCL reads its
/// configuration at its first use, which must come after this call; a configuration file in the
/// working folder takes precedence.
pub(crate) fn use_for_cubecl() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let Some(folder) = folder() else { return };
        let mut config = CubeClRuntimeConfig::from_current_dir().override_from_env();
        config
            .compilation
            .cache
            .get_or_insert(CacheConfig::File(folder.clone()));
        if matches!(config.autotune.cache, CacheConfig::Target) {
            config.autotune.cache = CacheConfig::File(folder);
        }
        CubeClRuntimeConfig::set(config);
    });
}

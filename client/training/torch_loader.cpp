// Finds and opens the LibTorch plugin, so that only a process that trains with it pays for it.
#include <dlfcn.h>

#include <filesystem>
#include <vector>

#include "client/training/torch/plugin.h"
#include "client/training/trainer.h"

namespace shoal::client::training {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> places(const std::string& plugin_folder) {
  if (!plugin_folder.empty()) return {plugin_folder};
  std::vector<fs::path> folders;
  std::error_code failed;
  const fs::path program = fs::read_symlink("/proc/self/exe", failed);
  if (!failed) {
    const fs::path prefix = program.parent_path().parent_path();
    folders = {prefix / "lib", prefix / "lib" / "shoal"};
  }
  folders.emplace_back(SHOAL_PLUGIN_INSTALL_FOLDER);
  return folders;
}

// The plugin's table; never closed, since its code runs as long as any trainer lives.
Result<const TorchPlugin*> open_plugin(const fs::path& file) {
  void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr)
    return Error(ErrorCode::kUnavailable, "the LibTorch trainer " + file.string() + " does not load: " + dlerror() +
                                              "; install libtorch1.13 and libblis4-pthread");
  const auto* plugin = static_cast<const TorchPlugin*>(dlsym(library, kTorchPluginSymbol));
  if (plugin == nullptr || plugin->abi != kTorchPluginAbi)
    return Error(ErrorCode::kInvalid,
                 "the LibTorch trainer " + file.string() + " belongs to another build of Shoal; install both together");
  return plugin;
}

}  // namespace

Result<std::unique_ptr<Trainer>> make_torch_trainer(const ModelDescription& model, const std::string& plugin_folder) {
  std::string looked;
  for (const fs::path& folder : places(plugin_folder)) {
    const fs::path file = folder / kTorchPluginFile;
    std::error_code failed;
    if (!fs::exists(file, failed)) {
      looked += (looked.empty() ? "" : ", ") + folder.string();
      continue;
    }
    SHOAL_TRY_ASSIGN(const TorchPlugin* plugin, open_plugin(file));
    return plugin->make(model);
  }
  return Error(ErrorCode::kUnavailable, std::string("no ") + kTorchPluginFile + " in " + looked +
                                            "; build with SHOAL_TORCH=ON or install the trainer package");
}

}  // namespace shoal::client::training

// How one coordinator runs: endpoints, folders and limits. What jobs do is in job_spec.h.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "base/options.h"
#include "base/units.h"

namespace shoal::coordinator {

enum class Approval : std::uint8_t { kAutomatic, kManual };
inline EnumNames<Approval> enum_names(Approval) {
  static constexpr std::array<std::pair<Approval, std::string_view>, 2> kNames{
      {{Approval::kAutomatic, "automatic"}, {Approval::kManual, "manual"}}};
  return kNames;
}

struct ServiceOptions {
  std::string name = "shoal";
  std::string data = "shoal-data";  // folder of everything durable
  std::string control = "tcp://127.0.0.1:7700";
  std::string bulk = "tcp://127.0.0.1:7703";
  std::string advertised_control;            // what invitations say; empty: as bound
  std::string advertised_bulk;               // what tickets say; empty: as bound
  std::string http = "127.0.0.1:7702";       // metrics and health; empty: none
  std::string admin;                         // socket; empty: <data>/admin/socket
  Approval approval = Approval::kAutomatic;  // of devices that redeem an invitation
  Bytes memory_limit{std::uint64_t{256} << 20};
  Bytes min_free_disk{std::uint64_t{256} << 20};
  std::uint32_t fold_workers = 2;
  Duration heartbeat =
      std::chrono::seconds(20);  // devices say something this often; three missed ones are a lost device
  bool keep_journal = false;

  template <class Visitor>
  void visit(Visitor& v) {
    v("name", name, any, "Name of this coordinator, shown to devices");
    v("data", data, any, "Folder of everything that is durable");
    v("control", control, any, "Endpoint of the control plane");
    v("bulk", bulk, any, "Endpoint of the bulk plane");
    v("advertised_control", advertised_control, any, "Control endpoint written into invitations; empty: as bound");
    v("advertised_bulk", advertised_bulk, any, "Bulk endpoint written into tickets; empty: as bound");
    v("http", http, any, "Address of /metrics, /healthz and /readyz; empty turns it off");
    v("admin", admin, any, "Administration socket; empty: admin/socket in the data folder");
    v("approval", approval, any, "Devices that redeem an invitation are let in: automatic or manual");
    v("memory_limit", memory_limit, at_least(Bytes{std::uint64_t{64} << 20}),
      "Memory that transfers and folds are sized to stay under");
    v("min_free_disk", min_free_disk, any, "Free disk space below which nothing new is accepted");
    v("fold_workers", fold_workers, between(1u, 64u), "Threads that fold updates into a model");
    v("heartbeat", heartbeat, between(Duration(std::chrono::milliseconds(100)), Duration(std::chrono::hours(1))),
      "How often devices say that they are alive; three missed are a lost device");
    v("keep_journal", keep_journal, any, "Keep folded events, for shoal-sim replay");
  }
};

}  // namespace shoal::coordinator

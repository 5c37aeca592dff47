// After a death: every room sets right what the dead process was doing; its next owner gives back
// what it had in hand.
#include "flash/flash_buffers.h"
#include "flash/flash_index.h"
#include "link/link_probation_inline.h"
#include "link/link_txn_inline.h"
#include "meter/meter.h"
#include "store/store_internal.h"
#include "watch/watch_inline.h"

void store_repair(void *context, struct proc *self, uint32_t dead_slot_index) {
    struct store *store = context;
    // Before the class locks of the dead are freed.
    link_probation_repair(store, self, dead_slot_index);
    slab_repair(&store->slab, self, dead_slot_index);
    if (store->flash) {
        flash_index_repair(store->flash, self, dead_slot_index);
        flash_buffers_repair(store->flash, dead_slot_index);
    }
    FAULT_POINT(self, "store.repair.slab");
    struct bucket *home = index_repair(&store->index, self, dead_slot_index);
    FAULT_POINT(self, "store.repair.index");
    link_txn_repair(store, self, dead_slot_index, home);
    FAULT_POINT(self, "store.repair.key");
    // Last, so that a second repairer finds the bucket locked as long as its transaction is armed.
    if (home) {
        index_repair_done(home);
    }
    FAULT_POINT(self, "store.repair.unlocked");
    link_limbo_repair(store, self, dead_slot_index);
    watch_repair(store->arena, dead_slot_index);
    meter_end_process(store->arena, dead_slot_index);
}

bool store_reclaim_slot(struct store *store, uint32_t slot_index) {
    return slot_index != store->proc->slot_index && proc_repair_if_dead(store->proc, slot_index);
}

// Making the tier: its files opened, locked and emptied, its tables formatted in the arena.
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "flash/flash_buffers_internal.h"
#include "flash/flash_index.h"

#define ADDRESS_UNITS_MAX (1ull << FLASH_ADDRESS_BITS)
// What reads of a buffered file are aligned to.
#define SECTOR_BYTES 512
// Tables are aligned to cache lines when they are reserved.
#define ALIGN_SLACK_BYTES 4096

// Whole pages of all paths, 0 when the page size makes no sense.
static uint64_t pages_of(const struct flash_geometry *geometry) {
    uint64_t pages = 0;
    for (uint32_t path = 0; path < geometry->path_count && geometry->page_bytes; path++) {
        pages += geometry->paths[path].bytes / geometry->page_bytes;
    }
    return pages;
}

// For each path one that is written and one that is filled, and one for each stream besides.
static uint64_t buffers_of(const struct flash_geometry *geometry) {
    uint64_t wanted =
        geometry->buffers ? geometry->buffers : 2ull * geometry->path_count + FLASH_BUCKETS;
    return wanted < FLASH_BUFFERS_MAX ? wanted : FLASH_BUFFERS_MAX;
}

uint64_t flash_reserve_bytes(const struct flash_geometry *geometry, uint32_t slots) {
    return sizeof(struct flash_root) + pages_of(geometry) * sizeof(struct flash_page)
           + geometry->path_count * sizeof(struct flash_path_state)
           + slots * sizeof(struct flash_local) + slots * flash_reads_stride(geometry->path_count)
           + buffers_of(geometry) * (sizeof(struct flash_buffer) + geometry->wbuf_bytes)
           + flash_index_reserve_bytes(geometry) + ALIGN_SLACK_BYTES;
}

static int check_geometry(const struct flash_geometry *geometry, uint32_t *failed_path_out) {
    uint64_t wbuf_bytes = geometry->wbuf_bytes;
    if (geometry->path_count == 0 || geometry->path_count > FLASH_PATHS_MAX
        || wbuf_bytes < 2 * FLASH_BLOCK_BYTES || wbuf_bytes % FLASH_BLOCK_BYTES != 0
        || wbuf_bytes > FLASH_FILL_BYTES || geometry->page_bytes == 0
        || geometry->page_bytes % wbuf_bytes != 0
        || geometry->page_bytes >> FLASH_UNIT_SHIFT_MIN > UINT32_MAX) {
        return PYMC_INVALID;
    }
    for (uint32_t path = 0; path < geometry->path_count; path++) {
        const struct flash_path *wanted = &geometry->paths[path];
        if (!wanted->name || wanted->bytes < geometry->page_bytes || wanted->bytes > INT64_MAX
            || wanted->label < 0 || wanted->label >= FLASH_BUCKETS) {
            *failed_path_out = path;
            return PYMC_INVALID;
        }
    }
    uint64_t pages = pages_of(geometry);
    if (pages > FLASH_PAGES_MAX
        || (pages * geometry->page_bytes) >> FLASH_UNIT_SHIFT_MAX > ADDRESS_UNITS_MAX) {
        return PYMC_INVALID;
    }
    return PYMC_OK;
}

// Where the kernel tells it: what direct reads must be aligned to. 0: it does not take them.
static uint32_t direct_align(int fd) {
#ifdef STATX_DIOALIGN
    struct statx found;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &found) == 0
        && (found.stx_mask & STATX_DIOALIGN)) {
        uint32_t align = found.stx_dio_mem_align > found.stx_dio_offset_align
                             ? found.stx_dio_mem_align
                             : found.stx_dio_offset_align;
        return align > 0 && align < SECTOR_BYTES ? SECTOR_BYTES : align;
    }
#endif
    int sector_bytes = 0;
    if (ioctl(fd, BLKSSZGET, &sector_bytes) == 0 && sector_bytes >= SECTOR_BYTES) {
        return (uint32_t)sector_bytes;
    }
    return FLASH_BLOCK_BYTES;
}

// Some file systems take the flag and refuse the reads.
static bool can_read(int fd) {
    void *block = NULL;
    if (posix_memalign(&block, FLASH_BLOCK_BYTES, FLASH_BLOCK_BYTES) != 0) {
        return false;
    }
    bool can = pread(fd, block, FLASH_BLOCK_BYTES, 0) == FLASH_BLOCK_BYTES;
    free(block);
    return can;
}

static void choose_direct(struct flash *flash, uint32_t path, bool avoid_direct) {
    int fd = flash->fds[path];
    int flags = fcntl(fd, F_GETFL);
    flash->read_align[path] = SECTOR_BYTES;
    if (avoid_direct || flags < 0) {
        return;
    }
    uint32_t align = direct_align(fd);
    if (align == 0 || align > FLASH_BLOCK_BYTES || fcntl(fd, F_SETFL, flags | O_DIRECT) != 0) {
        return;
    }
    if (!can_read(fd)) {
        fcntl(fd, F_SETFL, flags);
        return;
    }
    flash->is_direct[path] = true;
    flash->read_align[path] = align;
}

static int lock_file(int fd) {
    // Of the open file, not of the process: it lasts as long as any process of the server has it
    // open.
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_OFD_SETLK, &whole) == 0) {
        return PYMC_OK;
    }
    return errno == EAGAIN || errno == EACCES ? PYMC_BUSY : PYMC_OS_ERROR;
}

static int allocate(int fd, uint64_t bytes) {
    int result = 0;
    do {
        result = fallocate(fd, 0, 0, (off_t)bytes);
    } while (result != 0 && errno == EINTR);
    return result;
}

// What cannot be had is not taken for a moment either: others write to the file system too.
static bool has_room(int fd, uint64_t bytes) {
    struct statvfs room;
    return fstatvfs(fd, &room) != 0 || room.f_blocks == 0 || bytes / room.f_frsize <= room.f_bfree;
}

// Forgets what the file held and gives it its size and its blocks: no read inside a page is ever
// short, and no write meets a full file system. One that cannot set blocks aside leaves the file
// sparse.
static int make_file_size(int fd, uint64_t bytes, bool is_sparse, bool *is_allocated_out) {
    if (ftruncate(fd, 0) != 0) {
        return PYMC_OS_ERROR;
    }
    if (is_sparse
        || (allocate(fd, FLASH_BLOCK_BYTES) != 0 && (errno == EOPNOTSUPP || errno == ENOSYS))) {
        return ftruncate(fd, (off_t)bytes) == 0 ? PYMC_OK : PYMC_OS_ERROR;
    }
    bool may_fit = has_room(fd, bytes);
    *is_allocated_out = may_fit && allocate(fd, bytes) == 0;
    if (*is_allocated_out) {
        return PYMC_OK;
    }
    errno = may_fit ? errno : ENOSPC;
    // What it has got of them is not to fill the file system of somebody who was refused.
    int kept = errno;
    if (ftruncate(fd, 0) == 0) {
        errno = kept;
    }
    return PYMC_OS_ERROR;
}

static int make_size(int fd, uint64_t bytes, bool is_sparse, bool *is_allocated_out) {
    struct stat found;
    if (fstat(fd, &found) != 0) {
        return PYMC_OS_ERROR;
    }
    if (S_ISREG(found.st_mode)) {
        return make_file_size(fd, bytes, is_sparse, is_allocated_out);
    }
    *is_allocated_out = true;
    uint64_t device_bytes = 0;
    if (!S_ISBLK(found.st_mode)) {
        errno = EINVAL;
        return PYMC_OS_ERROR;
    }
    if (ioctl(fd, BLKGETSIZE64, &device_bytes) != 0) {
        return PYMC_OS_ERROR;
    }
    errno = ENOSPC;
    return device_bytes >= bytes ? PYMC_OK : PYMC_OS_ERROR;
}

static int open_path(struct flash *flash, uint32_t path, const struct flash_geometry *geometry) {
    const struct flash_path *wanted = &geometry->paths[path];
    struct stat found;
    // Exclusive on a device means that nothing on it is mounted; on a file that it is new.
    bool is_device = stat(wanted->name, &found) == 0 && S_ISBLK(found.st_mode);
    int fd =
        open(wanted->name, O_RDWR | O_CLOEXEC | O_NOCTTY | (is_device ? O_EXCL : O_CREAT), 0600);
    if (fd < 0) {
        return is_device && errno == EBUSY ? PYMC_BUSY : PYMC_OS_ERROR;
    }
    flash->fds[path] = fd;
    flash->names[path] = strdup(wanted->name);
    int status = flash->names[path] ? lock_file(fd) : PYMC_NO_MEMORY;
    if (status == PYMC_OK) {
        status = make_size(fd, wanted->bytes / geometry->page_bytes * geometry->page_bytes,
                           geometry->is_sparse, &flash->is_allocated[path]);
    }
    if (status == PYMC_OK) {
        choose_direct(flash, path, geometry->avoid_direct);
    }
    return status;
}

static int open_paths(struct flash *flash, const struct flash_geometry *geometry,
                      uint32_t *failed_path_out) {
    for (uint32_t path = 0; path < geometry->path_count; path++) {
        int status = open_path(flash, path, geometry);
        if (status != PYMC_OK) {
            *failed_path_out = path;
            return status;
        }
    }
    return PYMC_OK;
}

// Page 0 of every path, then page 1 of every path, ...: neighbours in number are on different
// devices.
static void number_pages(struct flash *flash, const struct flash_geometry *geometry) {
    uint32_t page = 0;
    for (uint64_t round = 0; page < flash->root->page_count; round++) {
        for (uint32_t path = 0; path < geometry->path_count; path++) {
            if (round >= geometry->paths[path].bytes / geometry->page_bytes) {
                continue;
            }
            flash->pages[page].path = (uint8_t)path;
            flash->pages[page].label = (uint8_t)geometry->paths[path].label;
            flash->pages[page].has_blocks = flash->is_allocated[path];
            flash->pages[page].file_offset = round * geometry->page_bytes;
            page++;
        }
    }
}

static int make_buffers(struct flash *flash, const struct flash_geometry *geometry) {
    struct arena *arena = flash->arena;
    struct flash_root *root = flash->root;
    root->buffer_count = (uint32_t)buffers_of(geometry);
    root->buffers_offset =
        arena_reserve(arena, root->buffer_count * sizeof(struct flash_buffer), 64, "flash_tables");
    // Direct writes want memory that begins at a block.
    root->buffer_memory_offset = arena_reserve(arena, root->buffer_count * root->wbuf_bytes,
                                               FLASH_BLOCK_BYTES, "flash_buffers");
    if (!root->buffers_offset || !root->buffer_memory_offset) {
        return PYMC_NO_MEMORY;
    }
    flash->buffers = (struct flash_buffer *)(arena->base + root->buffers_offset);
    for (uint32_t number = 0; number < root->buffer_count; number++) {
        flash->buffers[number].fill = FLASH_FILL_CLOSED;
    }
    flash->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return flash->wake_fd < 0 ? PYMC_OS_ERROR : PYMC_OK;
}

static int make_tables(struct flash *flash, const struct flash_geometry *geometry) {
    struct arena *arena = flash->arena;
    uint64_t root_offset = arena_reserve(arena, sizeof(struct flash_root), 64, "flash_tables");
    if (!root_offset) {
        return PYMC_NO_MEMORY;
    }
    struct flash_root *root = (struct flash_root *)(arena->base + root_offset);
    root->page_bytes = geometry->page_bytes;
    root->wbuf_bytes = geometry->wbuf_bytes;
    root->page_count = (uint32_t)pages_of(geometry);
    root->path_count = geometry->path_count;
    root->unit_shift = FLASH_UNIT_SHIFT_MIN;
    while ((root->page_count * root->page_bytes) >> root->unit_shift > ADDRESS_UNITS_MAX) {
        root->unit_shift++;
    }
    root->units_per_page = (uint32_t)(root->page_bytes >> root->unit_shift);
    root->pages_offset =
        arena_reserve(arena, root->page_count * sizeof(struct flash_page), 64, "flash_tables");
    root->paths_offset = arena_reserve(arena, root->path_count * sizeof(struct flash_path_state),
                                       64, "flash_tables");
    root->local_offset =
        arena_reserve(arena, arena->header->slots * sizeof(struct flash_local), 64, "flash_local");
    root->reads_offset = arena_reserve(
        arena, arena->header->slots * flash_reads_stride(root->path_count), 64, "flash_reads");
    if (!root->pages_offset || !root->paths_offset || !root->local_offset || !root->reads_offset) {
        return PYMC_NO_MEMORY;
    }
    if (getrandom(root->log_id, sizeof root->log_id, 0) != (ssize_t)sizeof root->log_id) {
        return PYMC_OS_ERROR;
    }
    flash->root = root;
    flash->pages = (struct flash_page *)(arena->base + root->pages_offset);
    flash->paths = (struct flash_path_state *)(arena->base + root->paths_offset);
    number_pages(flash, geometry);
    int status = make_buffers(flash, geometry);
    if (status != PYMC_OK) {
        return status;
    }
    arena->header->roots[ARENA_ROOT_FLASH] = root_offset;
    return flash_index_create(flash, geometry);
}

int flash_create(struct arena *arena, const struct flash_geometry *geometry,
                 struct flash **flash_out, uint32_t *failed_path_out) {
    *flash_out = NULL;
    *failed_path_out = FLASH_PATHS_MAX;
    int status = check_geometry(geometry, failed_path_out);
    if (status != PYMC_OK) {
        return status;
    }
    struct flash *flash = calloc(1, sizeof *flash);
    if (!flash) {
        return PYMC_NO_MEMORY;
    }
    flash->arena = arena;
    flash->arena_base = arena->base;
    memset(flash->fds, -1, sizeof flash->fds);
    flash->wake_fd = -1;
    status = open_paths(flash, geometry, failed_path_out);
    if (status == PYMC_OK) {
        status = make_tables(flash, geometry);
    }
    if (status != PYMC_OK) {
        int kept = errno;
        flash_close(flash);
        errno = kept;
        return status;
    }
    *flash_out = flash;
    return PYMC_OK;
}

void flash_close(struct flash *flash) {
    if (!flash) {
        return;
    }
    for (uint32_t path = 0; path < FLASH_PATHS_MAX; path++) {
        if (flash->fds[path] >= 0) {
            close(flash->fds[path]);
        }
        free(flash->names[path]);
    }
    if (flash->wake_fd >= 0) {
        close(flash->wake_fd);
    }
    free(flash);
}

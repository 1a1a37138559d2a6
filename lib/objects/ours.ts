/** Below this lies all that is ours and no finished file, among the objects of whoever has the bucket. */
export const Ours = '.bits-sessions/'

// A dashboard's file, in the types of @grafana/schema, as JSON has it and without unknown members.
import type {
  AnnotationQuery,
  Dashboard,
  DataQuery,
  FieldConfig,
  Panel,
  RowPanel,
} from "@grafana/schema";
import type * as StateTimeline from "@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen";
import type * as Stat from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type * as Table from "@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen";
import type * as Text from "@grafana/schema/dist/esm/raw/composable/text/panelcfg/x/TextPanelCfg_types.gen";
import type * as TimeSeries from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";

// JSON has an enumeration's values, not its names.
type Json<T> = T extends string
  ? `${T}`
  : T extends number | boolean | null | undefined
    ? T
    : T extends Array<infer Item>
      ? Json<Item>[]
      : T extends object
        ? { [Key in keyof T]: Json<T[Key]> }
        : T;

// Grafana's Prometheus data source; the schema does not have it.
interface Query extends DataQuery {
  expr: string;
  legendFormat?: string;
  editorMode?: "builder" | "code";
  format?: "heatmap" | "table" | "time_series";
  instant?: boolean;
  range?: boolean;
}
interface Annotation extends Omit<AnnotationQuery, "target"> {
  target: Query;
  titleFormat?: string;
  textFormat?: string;
  useValueForTime?: boolean;
}

type Fields<Custom> = {
  defaults: Omit<FieldConfig, "custom"> & { custom?: Custom };
  overrides: [];
};
type Of<Kind extends string, Options, Custom = never> = Omit<
  Panel,
  "type" | "options" | "fieldConfig" | "targets"
> & { type: Kind; options: Options; fieldConfig?: Fields<Custom>; targets?: Query[] };

type Known =
  | Of<"stat", Stat.Options>
  | Of<"state-timeline", StateTimeline.Options, StateTimeline.FieldConfig>
  | Of<"table", Table.Options, Table.FieldConfig>
  | Of<"text", Text.Options>
  | Of<"timeseries", TimeSeries.Options, TimeSeries.FieldConfig>
  | (Omit<RowPanel, "type"> & { type: "row" });

export type File = Json<
  Omit<Dashboard, "annotations" | "panels"> & {
    annotations: { list: Annotation[] };
    panels: Known[];
  }
>;

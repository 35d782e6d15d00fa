// What pgJDBC tells of tables, columns and keys, and a guarded and an open query through prepared statements.
import java.sql.*;
import java.util.Properties;

public class Introspect {
  private interface Row { String of(ResultSet r) throws SQLException; }

  private static void print(ResultSet rows, Row row) throws SQLException {
    try (ResultSet r = rows) {
      while (r.next()) System.out.println(row.of(r));
    }
  }

  public static void main(String[] args) throws Exception {
    Properties p = new Properties();
    p.setProperty("user", args[1]);
    p.setProperty("password", args[2]);
    p.setProperty("prepareThreshold", "2");
    try (Connection c = DriverManager.getConnection(args[0], p)) {
      DatabaseMetaData m = c.getMetaData();
      print(m.getSchemas(), r -> "schema " + r.getString(1));
      print(m.getTables(null, null, "%", new String[] {"TABLE", "VIEW"}), r -> "table " + r.getString(2) + "." + r.getString(3));
      for (String schema : new String[] {"taj", "sia", "ref", "lapi", "closed"})
        print(m.getColumns(null, schema, "%", "%"),
              r -> "column " + r.getString(2) + "." + r.getString(3) + "." + r.getString(4) + " " + r.getString(6));
      print(m.getPrimaryKeys(null, "ref", "town"), r -> "key " + r.getString(4));
      print(m.getIndexInfo(null, "ref", "town", true, true), r -> "index " + r.getString(9));
      print(m.getImportedKeys(null, "taj", "involvement"), r -> "imported " + r.getString(8));
      System.out.println("keywords " + (m.getSQLKeywords().length() > 100));
      try (Statement s = c.createStatement()) {
        s.execute("SET ecluse.purpose = 'judicial-inquiry'");
        s.execute("SET ecluse.reference = 'JDBC-1'");
      }
      try (PreparedStatement s = c.prepareStatement("SELECT person_id, family_name, phone FROM taj.person WHERE person_id = ?")) {
        for (int id : new int[] {1001, 1004, 1007, 1010, 1002}) {
          s.setInt(1, id);
          print(s.executeQuery(), r -> "person " + r.getInt(1) + " " + r.getString(3));
        }
      }
      c.setAutoCommit(false);
      try (Statement s = c.createStatement()) {
        s.setFetchSize(100);
        int n = 0;
        try (ResultSet r = s.executeQuery("SELECT id, filler FROM ref.numbers")) { while (r.next()) n++; }
        System.out.println("fetched " + n);
      }
      c.commit();
    }
  }
}
